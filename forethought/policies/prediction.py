"""The predicted trajectory of a policy under learned dynamics: a Gaussian over state and action at every step.

Symbols: x ~ N [n], s features of x [f], u [m] an action, y = x_next - x [n], z = [s; u] the model's input.
One step:
    p(x, s)        sines and cosines, exact
    p(x, s, u)     the policy at x plus sensor noise; its variance is half the model's, as y is a difference of two x
    p(x, s, u, y)  the model at z, with exact moments for the uncertain input
    p(x_next)      x + y
Each is the Gaussian with the exact mean and covariance, given the Gaussian before it (moment matching).
Source: Deisenroth & Rasmussen (2011), section 2.2, and `propagate` of the released code.
As in the released code, angles are not wrapped.
"""

from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Gaussian, HasCostMoments, Task, push_forward
from forethought.core.moments import choice, marginal, unscented, with_sines
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.models.gp.posterior import FittedGP
from forethought.policies.squashed import SquashedPolicy


class PredictedTrajectory(eqx.Module):
    """A Gaussian over states and actions at every step, and their expected costs."""

    states: Gaussian  # stacked [T+1]
    actions: Gaussian  # stacked [T]
    cost: Float[Array, "T1"]  # T1 = T + 1: expected cost of each state and action, then of the last state
    cost_std: Float[Array, "T1"]  # standard deviation of that cost

    @staticmethod
    def unknown(steps: int, n: int, m: int) -> "PredictedTrajectory":
        """A placeholder for `steps` steps, filled with NaN."""

        def stacked(count: int, size: int) -> Gaussian:
            return jax.vmap(Gaussian)(jnp.full((count, size), jnp.nan), jnp.full((count, size, size), jnp.nan))

        cost = jnp.full(steps + 1, jnp.nan)
        return PredictedTrajectory(stacked(steps + 1, n), stacked(steps, m), cost, cost)


def predict(
    dynamics: LearnedDynamics,
    policy: SquashedPolicy,
    task: Task,
    start: Gaussian,
    *,
    steps: int,
    smoothing: Float[Array, ""] | float = 0.0,
    sensor_noise: bool = True,
) -> PredictedTrajectory:
    """Predict the trajectory of a policy over `steps` steps.

    Args:
        dynamics: learned dynamics with a Gaussian process, without a learned reward.
        policy: the policy.
        task: the task, which defines the cost.
        start: distribution of the initial state.
        steps: T.
        smoothing: of the cost, see `cost_moments`.
        sensor_noise: whether the noise of the Gaussian process is sensor noise, which affects only the policy's input;
            if False, it is process noise, which affects the next state.
    Differentiable with respect to the policy and the initial state; no gradient flows to the model.
    """
    prepared, space = policy.function.prepared(), dynamics.space
    variance = jnp.square(dynamics.noise())
    measured = variance / 2 if sensor_noise else jnp.zeros_like(variance)
    n, m = space.size, policy.action_space.size

    def step(x: Gaussian, _: None) -> tuple[Gaussian, tuple[Gaussian, Gaussian]]:
        joint = with_action(policy, prepared, space, x, measured)
        d = joint.mean.shape[0]
        x_next = next_state(dynamics, joint)
        if not sensor_noise:
            x_next = Gaussian(x_next.mean, x_next.cov + jnp.diag(variance))
        return x_next, (x, marginal(joint, (*range(n), *range(d - m, d))))

    end, (before, both) = jax.lax.scan(step, start, None, length=steps)
    states = jax.tree.map(lambda rest, last: jnp.concatenate([rest, last[None]]), before, end)
    final = Gaussian(jnp.pad(end.mean, (0, m)), jnp.pad(end.cov, (0, m)))
    both_and_final = jax.tree.map(lambda rest, last: jnp.concatenate([rest, last[None]]), both, final)
    unit = smoothing * policy.state_scale()
    moments = jax.vmap(lambda p, t: cost_moments(task, p, t, smoothing, unit))
    cost, variance = moments(both_and_final, jnp.arange(steps + 1))
    actions = Gaussian(both.mean[:, n:], both.cov[:, n:, n:])
    return PredictedTrajectory(states, actions, cost, jnp.sqrt(variance + jnp.finfo(variance.dtype).tiny))


def with_action(
    policy: SquashedPolicy, prepared: Any, space: StateSpace, x: Gaussian, noise: Float[Array, "n"]
) -> Gaussian:
    """The joint over `[x; sines; cosines; u]`.

    The sensor variances `noise` are added to the policy's input; they change the action's variance, not cov(x, u).
    """
    truth = with_sines(x, space.angles)
    seen = marginal(with_sines(Gaussian(x.mean, x.cov + jnp.diag(noise)), space.angles), space.feature_places())
    action = policy.moments(prepared, seen)
    u = push_forward(seen, action)
    cross = truth.cov @ (action.F @ choice(space.feature_places(), truth)).T
    cov = jnp.block([[truth.cov, cross], [cross.T, u.cov]])
    return Gaussian(jnp.concatenate([truth.mean, u.mean]), cov)


def next_state(dynamics: LearnedDynamics, joint: Gaussian) -> Gaussian:
    """The next state without noise, from the joint over `[x; sines; cosines; u]`."""
    space, d = dynamics.space, joint.mean.shape[0]
    z = (*space.feature_places(), *range(space.size + 2 * len(space.angles), d))
    change = cast(FittedGP, dynamics.model).moments(marginal(joint, z), noise=False)
    return push_forward(joint, dynamics.onwards(joint, z, change))


def cost_moments(
    task: Task,
    p: Gaussian,
    t: Int[Array, ""],
    smoothing: Float[Array, ""] | float = 0.0,
    state_std: Float[Array, "n"] | float = 0.0,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of the task's cost for `[x; u] ~ p`.

    A task with `HasCostMoments` computes them, given `smoothing`.  For any other task they come from sigma points;
    smoothing then adds noise with standard deviations `state_std` to the state.
    """
    if isinstance(task, HasCostMoments):
        return task.cost_moments(p, t, smoothing=smoothing)
    n, d = p.mean.shape[0] - task.action_space.size, p.mean.shape[0]
    added = jnp.pad(jnp.broadcast_to(jnp.asarray(state_std, p.mean.dtype), n), (0, d - n))
    smoothed = Gaussian(p.mean, p.cov + jnp.diag(added**2))
    y = unscented(lambda xu: task.cost(xu[:n], xu[n:], t)[None], smoothed)
    mean = y.F @ p.mean + y.f
    return mean[0], (y.F @ smoothed.cov @ y.F.T + y.cov)[0, 0]
