"""Where PILCO leaves its comfort, in sentences with the numbers that say so.

A chain of Gaussians is exact about little: it works where states are few, data fit into one kernel matrix, initial
states lie closer together than the dynamics bend, and the cost varies on a scale that predictions can resolve.
Each check answers with a sentence, or None; the limits are rules of thumb, named below.

Symbols: x_t ~ N(mean_t, cov_t) the predicted states, c the cost, [T + 1] with that of the last state.
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
from forethought.policies.prediction import Imagined, cost_moments

MOST_STATES = 10  # the paper's largest system has 6 to 8; each dimension wants data, and pairs of centers cost N^2
SLOW_ROWS = 300  # a prediction visits all pairs of rows: nine times the time of 100
WIDEST_ANGLE = 0.5  # rad, std at the start: beyond, a Gaussian's sines are no longer nearly Gaussian
FLAT = 0.01  # of the greatest cost seen: the least variation along a prediction that gives a search a direction
DROWNED = 0.5  # share of a cost's depth that may be lost to a spread
SURPRISE = 2.0  # spreads of the predicted cost, of an episode, that reality may be away
RELATIVE = 0.25  # of the cost, below which no gap is worth a word


def outside_comfort(
    *,
    dynamics: LearnedDynamics,
    model: GP,
    task: Task,
    start: Gaussian,
    trial: Transition,
    dearest: float,
    foreseen: Imagined | None = None,
    ahead: Imagined | None = None,
) -> tuple[str, ...]:
    """A sentence for everything that PILCO is not made for.

    Args:
        dynamics: by a Gaussian process, fitted to the experience so far.
        model: the process's settings.
        task: of the environment.
        start: one of the Gaussians that stand for the initial states.
        trial: the last one.
        dearest: the greatest cost of one step in the experience.
        foreseen: what was expected of that trial before it ran; None in the first rounds, which are still vague.
        ahead: what is expected of the next one; likewise.
    """
    space, fitted = dynamics.space, cast(FittedGP, dynamics.model)
    found = [
        _dimension(space),
        _data(int(fitted.rows), model),
        _angles(start, space),
        _bends(start, space, fitted),
    ]
    if ahead is not None:
        found += [_flat(ahead, dearest), _resolution(ahead, task, dynamics.noise(), dearest)]
    if foreseen is not None:
        found.append(_surprise(foreseen, trial))
    return tuple(sentence for sentence in found if sentence is not None)


def _dimension(space: StateSpace) -> str | None:
    if space.size <= MOST_STATES:
        return None
    return (
        f"the state has {space.size} coordinates; beyond about {MOST_STATES} a Gaussian process wants more data than "
        "PILCO has time for: consider pets"
    )


def _data(rows: int, model: GP) -> str | None:
    if rows > model.max_exact and model.beyond == "recent":
        return None
    if rows > model.max_exact:
        return (
            f"{rows} rows of data are more than the process conditions on exactly ({model.max_exact}, "
            "--model.max-exact): inducing inputs stand for them and what they miss counts as noise, in which a policy "
            "that must balance drowns; --model.beyond recent keeps to the latest rows"
        )
    if rows <= SLOW_ROWS:
        return None
    return (
        f"{rows} rows of data: a predicted episode visits all pairs of them and takes about {(rows / 100) ** 2:.0f} "
        "times as long as with 100; --trial-steps and --model.max-exact keep rounds short"
    )


def _angles(start: Gaussian, space: StateSpace) -> str | None:
    std = np.asarray(start.std)
    wide = [i for i in space.angles if std[i] > WIDEST_ANGLE]
    if not wide:
        return None
    return (
        f"the angle x[{wide[0]}] starts with a standard deviation of {std[wide[0]]:.2g} rad; a Gaussian describes an "
        f"angle up to about {WIDEST_ANGLE} rad: --starts 4 or more stand for the initial states in narrower parts"
    )


def _bends(start: Gaussian, space: StateSpace, model: FittedGP) -> str | None:
    """Whether the dynamics bend within the start's spread."""
    features = marginal(with_sines(start, space.angles), space.feature_places())
    shortest = np.min(np.asarray(model.lengthscale), axis=0)[: space.feature_size]
    ratio = np.asarray(features.std) / shortest
    worst = int(np.argmax(ratio))
    if ratio[worst] <= 1:
        return None
    return (
        f"initial states spread over {ratio[worst]:.2g} lengthscales of the model along its input {worst}: one "
        "Gaussian does not describe where they go; raise --starts"
    )


def _flat(ahead: Imagined, dearest: float) -> str | None:
    costs = np.asarray(ahead.cost)
    varies = np.ptp(costs)
    if not dearest > 0 or varies > FLAT * dearest or costs.min() < 0.9 * dearest:
        return None
    return (
        f"the expected cost is flat along the whole prediction ({costs.min():.4g} to {costs.max():.4g}, as dear as "
        "anything seen): a search has no direction; widen the cost, or let scouts feel it from afar with --blur"
    )


def _resolution(ahead: Imagined, task: Task, noise: Float[Array, "n"], dearest: float) -> str | None:
    """Whether the cost's depth at the best step of the predicted mean survives the prediction's spread, and noise."""
    at_mean, noisy = (np.asarray(a) for a in _costs_at_mean(ahead, task, jnp.square(noise)))
    best = int(np.argmin(at_mean))
    depth, expected = dearest - at_mean[best], float(ahead.cost[best])
    if not depth > FLAT * max(dearest, 0):
        return None
    if noisy[best] - at_mean[best] > DROWNED * depth:
        return (
            f"the model's noise alone raises the cost at its best from {at_mean[best]:.3g} to {noisy[best]:.3g} (step "
            f"{best}, dearest seen {dearest:.3g}): the cost is narrower than anything measured; widen it"
        )
    if expected - at_mean[best] > DROWNED * depth:
        return (
            f"at step {best} the predicted mean would cost {at_mean[best]:.3g}, but its spread makes that "
            f"{expected:.3g} (dearest seen {dearest:.3g}): predictions are too wide for so narrow a cost; more "
            "trials narrow them, a wider cost or a shorter horizon helps at once"
        )
    return None


@eqx.filter_jit
def _costs_at_mean(
    ahead: Imagined, task: Task, noise: Float[Array, "n"]
) -> tuple[Float[Array, "T"], Float[Array, "T"]]:
    """Costs of the mean states and actions, and their expectation under the model's noise alone."""
    xs, us = ahead.states.mean[:-1], ahead.actions.mean
    steps = jnp.arange(us.shape[0])
    spread = jnp.diag(jnp.pad(noise.astype(xs.dtype), (0, us.shape[1])))
    under = jax.vmap(lambda x, u, t: cost_moments(task, Gaussian(jnp.concatenate([x, u]), spread), t, 0.0)[0])
    return jax.vmap(task.cost)(xs, us, steps), under(xs, us, steps)


def _surprise(foreseen: Imagined, trial: Transition) -> str | None:
    steps = len(trial)
    real, expected = -float(np.sum(trial.reward)), float(np.sum(foreseen.cost[:steps]))
    spread = float(np.sum(foreseen.spread[:steps]))  # as if the steps' costs went up and down together
    gap = abs(real - expected)
    if gap <= SURPRISE * spread or gap <= RELATIVE * max(abs(real), abs(expected)):
        return None
    return (
        f"the trial cost {real:.4g} where the model expected {expected:.4g} ± {spread:.2g}; where this goes on for "
        "rounds the model is sure of what is not so: something that the state does not show, contacts, a horizon too "
        "long"
    )
