"""Which assumptions of PILCO a problem does not meet, in sentences with numbers.

Moment matching is an approximation: it works if states have few coordinates, all data fit into one kernel matrix,
initial states are close together on the scale on which the dynamics are nonlinear, and the cost varies on a scale that
predictions can resolve.  Each check returns a sentence, or None; the limits are rules of thumb, named below.

Symbols: x_t ~ N(mean_t, cov_t) the predicted states, c the cost [T+1], the last one without an action.
"""

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.core import Gaussian, Task, Transition
from forethought.core.moments import marginal, with_sines
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.models.gp.posterior import FittedGP
from forethought.models.gp.process import GP
from forethought.policies.prediction import PredictedTrajectory, cost_moments

MAX_STATES = 10  # the paper's largest system has 6 to 8; data grow with dimension, pairs of centers cost N^2
SLOW_ROWS = 300  # a prediction visits all pairs of rows: nine times the time of 100
MAX_ANGLE_STD = 0.5  # rad, at the start: above it the sine of a Gaussian is far from Gaussian
FLAT = 0.01  # share of the highest cost: the smallest variation along a prediction that gives a search a direction
LOST = 0.5  # share of a cost's depth that may be lost to the spread of a prediction
SURPRISE = 2.0  # standard deviations of the predicted cost of an episode, by which the real one may differ
RELATIVE = 0.25  # share of the cost, below which a difference is not reported


def unmet_assumptions(
    *,
    dynamics: LearnedDynamics,
    model: GP,
    task: Task,
    start: Gaussian,
    trial: Transition,
    highest_cost: float,
    predicted: PredictedTrajectory | None = None,
    upcoming: PredictedTrajectory | None = None,
) -> tuple[str, ...]:
    """A sentence for each assumption of PILCO that the problem does not meet.

    Args:
        dynamics: by a Gaussian process, fitted to the experience so far.
        model: the process's settings.
        task: of the environment.
        start: one of the Gaussians that represent the initial states.
        trial: the last one.
        highest_cost: of one step in the experience.
        predicted: the prediction of that trial, made before it; None in the first rounds, whose models are vague.
        upcoming: the prediction of the next trial; likewise.
    """
    space, fitted = dynamics.space, cast(FittedGP, dynamics.model)
    found = [
        _dimension(space),
        _data(int(fitted.rows), model),
        _angles(start, space),
        _curvature(start, space, fitted),
    ]
    if upcoming is not None:
        noise = dynamics.noise()
        found += [_flat(upcoming, highest_cost), _resolution(upcoming, task, noise, highest_cost)]
    if predicted is not None:
        found.append(_surprise(predicted, trial))
    return tuple(sentence for sentence in found if sentence is not None)


def _dimension(space: StateSpace) -> str | None:
    if space.size <= MAX_STATES:
        return None
    return (
        f"the state has {space.size} coordinates; above about {MAX_STATES} a Gaussian process needs more data than "
        "PILCO can handle: consider pets"
    )


def _data(rows: int, model: GP) -> str | None:
    if rows > model.max_exact and model.sparse == "recent":
        return None
    if rows > model.max_exact:
        return (
            f"{rows} rows of data are more than the process conditions on exactly ({model.max_exact}, "
            "--model.max-exact): inducing inputs approximate them, and the error counts as noise, which may be too "
            "much for a policy that must balance; --model.sparse recent uses the latest rows"
        )
    if rows <= SLOW_ROWS:
        return None
    return (
        f"{rows} rows of data: a predicted episode visits all pairs of them and takes about {(rows / 100) ** 2:.0f} "
        "times as long as with 100; --trials.steps and --model.max-exact keep rounds short"
    )


def _angles(start: Gaussian, space: StateSpace) -> str | None:
    std = np.asarray(start.std)
    wide = [i for i in space.angles if std[i] > MAX_ANGLE_STD]
    if not wide:
        return None
    return (
        f"the angle x[{wide[0]}] starts with a standard deviation of {std[wide[0]]:.2g} rad; a Gaussian describes an "
        f"angle up to about {MAX_ANGLE_STD} rad: --objective.initial-components 4 or more split the initial states "
        "into narrower Gaussians"
    )


def _curvature(start: Gaussian, space: StateSpace, model: FittedGP) -> str | None:
    """Whether the dynamics are nonlinear within the standard deviations of the initial states."""
    features = marginal(with_sines(start, space.angles), space.feature_places())
    shortest = np.min(np.asarray(model.lengthscale), axis=0)[: space.feature_size]
    ratio = np.asarray(features.std) / shortest
    worst = int(np.argmax(ratio))
    if ratio[worst] <= 1:
        return None
    return (
        f"the standard deviation of the initial states is {ratio[worst]:.2g} lengthscales of the model along its input "
        f"{worst}: one Gaussian does not describe the states that follow; raise --objective.initial-components"
    )


def _flat(upcoming: PredictedTrajectory, highest_cost: float) -> str | None:
    costs = np.asarray(upcoming.cost)
    varies = np.ptp(costs)
    if not highest_cost > 0 or varies > FLAT * highest_cost or costs.min() < 0.9 * highest_cost:
        return None
    return (
        f"the expected cost is flat along the whole prediction ({costs.min():.4g} to {costs.max():.4g}, close to the "
        "highest cost seen): a search has no direction; make the cost wider, or raise --objective.cost-smoothing"
    )


def _resolution(upcoming: PredictedTrajectory, task: Task, noise: Float[Array, "n"], highest_cost: float) -> str | None:
    """Whether the lowest cost along the predicted mean is still low given the prediction's variance and the noise."""
    at_mean, noisy = (np.asarray(a) for a in _costs_at_mean(upcoming, task, jnp.square(noise)))
    best = int(np.argmin(at_mean))
    depth, expected = highest_cost - at_mean[best], float(upcoming.cost[best])
    if not depth > FLAT * max(highest_cost, 0):
        return None
    if noisy[best] - at_mean[best] > LOST * depth:
        return (
            f"the model's noise alone raises the lowest cost from {at_mean[best]:.3g} to {noisy[best]:.3g} (step "
            f"{best}, highest cost seen {highest_cost:.3g}): the cost is narrower than the measurement noise; make it "
            "wider"
        )
    if expected - at_mean[best] > LOST * depth:
        return (
            f"at step {best} the predicted mean would cost {at_mean[best]:.3g}, but the variance of the prediction "
            f"makes that {expected:.3g} (highest cost seen {highest_cost:.3g}): predictions are too uncertain for so "
            "narrow a cost; more trials reduce the variance, a wider cost or a shorter horizon helps at once"
        )
    return None


@eqx.filter_jit
def _costs_at_mean(
    upcoming: PredictedTrajectory, task: Task, variance: Float[Array, "n"]
) -> tuple[Float[Array, "T"], Float[Array, "T"]]:
    """Costs of the mean states and actions, and their expectation under the model's noise alone."""
    xs, us = upcoming.states.mean[:-1], upcoming.actions.mean
    steps = jnp.arange(us.shape[0])
    cov = jnp.diag(jnp.pad(variance.astype(xs.dtype), (0, us.shape[1])))
    expected = jax.vmap(lambda x, u, t: cost_moments(task, Gaussian(jnp.concatenate([x, u]), cov), t)[0])
    return jax.vmap(task.cost)(xs, us, steps), expected(xs, us, steps)


def _surprise(predicted: PredictedTrajectory, trial: Transition) -> str | None:
    steps = len(trial)
    real, expected = -float(np.sum(trial.reward)), float(np.sum(predicted.cost[:steps]))
    std = float(np.sum(predicted.cost_std[:steps]))  # as if the costs of all steps were fully correlated
    gap = abs(real - expected)
    if gap <= SURPRISE * std or gap <= RELATIVE * max(abs(real), abs(expected)):
        return None
    return (
        f"the trial cost {real:.4g} where the model expected {expected:.4g} ± {std:.2g}; if this continues for several "
        "rounds, the model is overconfident: the state is not fully observed, there are contacts, or the horizon is "
        "too long"
    )
