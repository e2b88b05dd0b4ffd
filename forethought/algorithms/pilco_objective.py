"""PILCO's objective: the expected cost of a policy under the learned dynamics, with its gradient.

    J(theta) = mean over k of  sum over counted t of  E[c(x_t, u_t)] - exploration * std[c(x_t, u_t)],
    x_0 ~ starts[k],  (x_t, u_t) the trajectory that `policies.prediction` predicts

Symbols: theta the parameters of `policy.function`; c the task's cost; K starts; T predicted steps.
Source: Deisenroth & Rasmussen (2011), equations 2 and 10-14 (value), section 2.3 (gradient).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from forethought.core import Buffer, Gaussian, Task, UsageError
from forethought.dynamics.learned import LearnedDynamics
from forethought.policies.prediction import PredictedTrajectory, predict
from forethought.policies.squashed import RBF, Affine, SquashedPolicy

INITIAL_DRAWS = 1000  # initial states that moments are computed from


class ExpectedCost(eqx.Module):
    """`ExpectedCost(...)(policy)`: the objective's value and its gradient by `policy.function`.

    Needs float64 (see `FittedGP.moments`).  Compiled once per shape.
    """

    dynamics: LearnedDynamics
    task: Task
    starts: Gaussian  # stacked [K]; together they represent the distribution of initial states
    counted: Bool[Array, "T1"]  # T1 = T + 1: states whose cost counts
    smoothing: Float[Array, ""]  # see `HasCostMoments`
    exploration: float = eqx.field(static=True, default=0.0)  # standard deviations of the cost, subtracted
    sensor_noise: bool = eqx.field(static=True, default=True)  # see `predict`

    @staticmethod
    def of_episode(dynamics: LearnedDynamics, task: Task, buffer: Buffer, *, sensor_noise: bool) -> "ExpectedCost":
        """The cost of a whole episode, from the task's own distribution of initial states."""
        starts = initial_states(task, buffer, key=jr.key(0))  # the same draws in every round
        counted = jnp.ones(task.horizon + 1, bool)
        return ExpectedCost(dynamics, task, starts, counted, jnp.zeros(()), sensor_noise=sensor_noise)

    def __call__(self, policy: SquashedPolicy) -> tuple[Float[Array, ""], Affine | RBF]:
        """Value and gradient."""
        return _value_and_gradient(self, policy)

    def predict(self, policy: SquashedPolicy) -> PredictedTrajectory:
        """The trajectory predicted from the first of the starts."""
        return _predict(self, policy)

    def starting_at(self, x: Float[Any, "n"]) -> "ExpectedCost":
        """The same from a single known state."""
        start = jax.vmap(Gaussian.point)(jnp.asarray(x, jnp.float64)[None])
        return eqx.tree_at(lambda cost: cost.starts, self, start)

    def smoothed(self, smoothing: float) -> "ExpectedCost":
        """The same with another smoothing of the cost."""
        return eqx.tree_at(lambda cost: cost.smoothing, self, jnp.asarray(smoothing, jnp.float64))


@eqx.filter_jit
def _value_and_gradient(cost: ExpectedCost, policy: SquashedPolicy) -> tuple[Float[Array, ""], Affine | RBF]:
    count = cost.starts.mean.shape[0]

    def value(function: Affine | RBF) -> Float[Array, ""]:
        candidate = policy.with_function(function)

        def from_start(start: Gaussian) -> Float[Array, ""]:
            predicted = _predict_from(start, cost, candidate)
            each = predicted.cost  # the standard deviation is left out where it does not count: it costs compilation
            each = each - cost.exploration * predicted.cost_std if cost.exploration else each
            return jnp.sum(jnp.where(cost.counted, each, 0))

        return jnp.mean(jax.lax.map(from_start, cost.starts) if count > 1 else from_start(_first(cost.starts)))

    return jax.value_and_grad(value)(policy.function)


@eqx.filter_jit
def _predict(cost: ExpectedCost, policy: SquashedPolicy) -> PredictedTrajectory:
    return _predict_from(_first(cost.starts), cost, policy)


def _predict_from(start: Gaussian, cost: ExpectedCost, policy: SquashedPolicy) -> PredictedTrajectory:
    steps = cost.counted.shape[0] - 1
    options: dict[str, Any] = {"smoothing": cost.smoothing, "sensor_noise": cost.sensor_noise}
    return predict(cost.dynamics, policy, cost.task, start, steps=steps, **options)


def _first(stacked: Gaussian) -> Gaussian:
    return jax.tree.map(lambda a: a[0], stacked)


def initial_states(
    task: Task, buffer: Buffer, *, components: int = 1, std_scale: float = 1.0, key: PRNGKeyArray
) -> Gaussian:
    """Gaussians [K = components, n] that together represent the distribution of initial states.

    Their means are drawn so that mean and covariance of the mixture are those of the task's initial states, or, where
    the task cannot draw them, of the first states of the episodes so far; standard deviations times `std_scale`.
    """
    draw_key, mean_key = jr.split(key)
    try:
        xs = np.asarray(jax.vmap(lambda k: task.initial(key=k))(jr.split(draw_key, INITIAL_DRAWS)), np.float64)
    except UsageError:
        rows = buffer.rows()
        numbers = np.asarray(buffer.episode[: int(buffer.size)])
        xs = np.asarray(rows.x, np.float64)[np.flatnonzero(np.diff(numbers, prepend=-1))]
    mean = xs.mean(axis=0)
    n = mean.shape[0]
    cov = std_scale**2 * np.cov(xs.T, ddof=0).reshape(n, n) + 1e-6 * np.eye(n)
    if components == 1:
        return jax.vmap(Gaussian)(jnp.asarray(mean[None]), jnp.asarray(cov[None]))
    means = np.asarray(jr.multivariate_normal(mean_key, mean, cov * (1 - 1 / components), (components,)))
    return jax.vmap(Gaussian)(jnp.asarray(means), jnp.broadcast_to(cov / components, (components, n, n)))
