"""What PILCO searches with: where episodes start, where policies begin, what they are expected to cost."""

from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Buffer, Gaussian, Task, UsageError
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.policies.prediction import imagine
from forethought.policies.squashed import RBF, Affine, SquashedPolicy

START_DRAWS = 1000  # initial states that the start's Gaussian is matched to

imagine_compiled = eqx.filter_jit(imagine)


@eqx.filter_jit
def expected_cost(
    function: Affine | RBF,
    dynamics: LearnedDynamics,
    policy: SquashedPolicy,
    task: Task,
    starts: Gaussian,
    ahead: Int[Array, ""],
    steps: int,
    blur: Float[Array, ""],
    exploration: float,
    sensor_noise: bool,
    settling: int,
) -> tuple[Float[Array, ""], Affine | RBF]:
    """Expected cost of the first `ahead` of `steps` steps, averaged over `starts`, with its gradient.

    Those before step `settling` are not counted.
    """
    times = np.arange(steps + 1)

    def cost(function: Affine | RBF) -> Float[Array, ""]:
        candidate = eqx.tree_at(lambda p: p.function, policy, function)

        def one(start: Gaussian) -> Float[Array, ""]:
            seen = imagine(dynamics, candidate, task, start, steps=steps, blur=blur, sensor_noise=sensor_noise)
            felt = seen.cost - exploration * seen.spread if exploration else seen.cost  # the spread costs compilation
            return jnp.sum(jnp.where((settling <= times) & (times <= ahead), felt, 0))

        return jnp.mean(
            jax.lax.map(one, starts) if starts.mean.shape[0] > 1 else one(jax.tree.map(lambda a: a[0], starts))
        )

    return jax.value_and_grad(cost)(function)


def start_distribution(task: Task, buffer: Buffer, count: int, *, width: float = 1.0, key: PRNGKeyArray) -> Gaussian:
    """`count` Gaussians [count, n] that together stand for the initial states.

    Their means are drawn so that mean and covariance of the mixture are those of the task's initial states, or, where
    the task cannot tell them, of the first states of the episodes so far; standard deviations times `width`.
    """
    draw_key, mean_key = jr.split(key)
    try:
        xs = np.asarray(jax.vmap(lambda k: task.initial(key=k))(jr.split(draw_key, START_DRAWS)), np.float64)
    except UsageError:
        rows = buffer.rows()
        numbers = np.asarray(buffer.episode[: int(buffer.size)])
        xs = np.asarray(rows.x, np.float64)[np.flatnonzero(np.diff(numbers, prepend=-1))]
    mean = xs.mean(axis=0)
    cov = width**2 * np.cov(xs.T, ddof=0).reshape(mean.shape[0], -1) + 1e-6 * np.eye(mean.shape[0])
    if count == 1:
        return jax.vmap(Gaussian)(jnp.asarray(mean[None]), jnp.asarray(cov[None]))
    means = np.asarray(jr.multivariate_normal(mean_key, mean, cov * (1 - 1 / count), (count,)))
    return jax.vmap(Gaussian)(jnp.asarray(means), jnp.broadcast_to(cov / count, (count, *cov.shape)))


def units(features: Float[np.ndarray, "N f"], space: StateSpace) -> Float[np.ndarray, "f"]:
    """Of each feature: its spread in the data; of sines and cosines that of a whole circle, however little was seen."""
    waves = np.arange(features.shape[1]) >= space.size - len(space.angles)
    return np.where(waves, np.sqrt(0.5), np.std(features, axis=0) + 1e-6)


def recentered(
    policy: SquashedPolicy,
    dynamics: LearnedDynamics,
    task: Task,
    start: Gaussian,
    *,
    steps: int,
    sensor_noise: bool,
    key: PRNGKeyArray,
) -> RBF:
    """The RBF policy's values at other centers: states drawn from where it is expected to go in the first `steps`.

    A search moves centers slowly, and those of a first policy are where a first trial happened to be.
    """
    seen = imagine_compiled(dynamics, policy, task, start, steps=task.horizon, sensor_noise=sensor_noise).states
    function = cast(RBF, policy.function)
    count, network = function.centers.shape[0], function.prepared()
    step_key, state_key = jr.split(key)
    places = jr.randint(step_key, (count,), 0, steps)
    drawn = jax.vmap(lambda t, k: Gaussian(seen.mean[t], seen.cov[t]).sample(key=k))
    centers = jax.vmap(policy.space.features)(drawn(places, jr.split(state_key, count))) / policy.scale[None]
    return RBF(centers, jax.vmap(lambda s: network(s).mean)(centers), function.log_lengthscale)
