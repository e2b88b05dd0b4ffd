"""A policy on a learned model, imagined as a chain of Gaussians: what it will cost, and where it will go.

Symbols: x ~ N [n], s features of x [f], u [m] an action, y = x' - x [n], z = [s; u] the model's input.
One step:
    p(x, s)       sines and cosines, exact
    p(x, s, u)    the policy, which sees x as sensors do: noise of half the model's, since y is a difference of two
    p(x, s, u, y) the model at z; its moments at uncertain inputs are exact
    p(x')         x + y
Each is the Gaussian with the right first two moments, given the one before it.
Source: Deisenroth & Rasmussen (2011), section 2.2, and `propagate` of the released code.
Angles are not wrapped, as there.
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


class Imagined(eqx.Module):
    """A rollout of Gaussians."""

    states: Gaussian  # stacked [T + 1]
    actions: Gaussian  # stacked [T]
    cost: Float[Array, "S"]  # S = T + 1: expected cost of each state and action; of the last state without one
    spread: Float[Array, "S"]  # standard deviation of that cost


def imagine(
    dynamics: LearnedDynamics,
    policy: SquashedPolicy,
    task: Task,
    start: Gaussian,
    *,
    steps: int,
    blur: Float[Array, ""] | float = 0.0,
    sensor_noise: bool = True,
) -> Imagined:
    """Roll out `steps` steps.

    `dynamics` are those of a Gaussian process, its reward not among them.  The process's noise is either the sensors',
    so that it blurs what the policy sees, or (not `sensor_noise`) moves the state itself.
    Differentiable by the policy and the start; the model counts as constant.
    """
    prepared, space = policy.function.prepared(), dynamics.space
    variance = jnp.square(dynamics.noise())
    seen = variance / 2 if sensor_noise else jnp.zeros_like(variance)
    n, m = space.size, policy.action_space.size

    def step(x: Gaussian, _: None) -> tuple[Gaussian, tuple[Gaussian, Gaussian]]:
        joint = acted(policy, prepared, space, x, seen)
        d = joint.mean.shape[0]
        after = stepped(dynamics, joint)
        if not sensor_noise:
            after = Gaussian(after.mean, after.cov + jnp.diag(variance))
        return after, (x, marginal(joint, (*range(n), *range(d - m, d))))

    end, (before, both) = jax.lax.scan(step, start, None, length=steps)
    states = jax.tree.map(lambda rest, last: jnp.concatenate([rest, last[None]]), before, end)
    final = Gaussian(jnp.pad(end.mean, (0, m)), jnp.pad(end.cov, (0, m)))
    both_and_final = jax.tree.map(lambda rest, last: jnp.concatenate([rest, last[None]]), both, final)
    cost, variance = jax.vmap(lambda p, t: cost_moments(task, p, t, blur))(both_and_final, jnp.arange(steps + 1))
    actions = Gaussian(both.mean[:, n:], both.cov[:, n:, n:])
    return Imagined(states, actions, cost, jnp.sqrt(variance + jnp.finfo(variance.dtype).tiny))


def acted(policy: SquashedPolicy, prepared: Any, space: StateSpace, x: Gaussian, noise: Float[Array, "n"]) -> Gaussian:
    """The joint over `[x; sines; cosines; u]`.

    The sensors' noise widens what the policy sees, and with it the action; `cov(x, u)` is that of the state itself.
    """
    truth = with_sines(x, space.angles)
    seen = marginal(with_sines(Gaussian(x.mean, x.cov + jnp.diag(noise)), space.angles), space.feature_places())
    action = policy.moments(prepared, seen)
    u = push_forward(seen, action)
    cross = truth.cov @ (action.F @ choice(space.feature_places(), truth)).T
    cov = jnp.block([[truth.cov, cross], [cross.T, u.cov]])
    return Gaussian(jnp.concatenate([truth.mean, u.mean]), cov)


def stepped(dynamics: LearnedDynamics, joint: Gaussian) -> Gaussian:
    """The next state without noise, from the joint over `[x; sines; cosines; u]`."""
    space, d = dynamics.space, joint.mean.shape[0]
    z = (*space.feature_places(), *range(space.size + 2 * len(space.angles), d))
    change = cast(FittedGP, dynamics.model).moments(marginal(joint, z), noise=False)
    return push_forward(joint, dynamics.onwards(joint, z, change))


def cost_moments(
    task: Task, p: Gaussian, t: Int[Array, ""], blur: Float[Array, ""] | float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of the task's cost for `[x; u] ~ p`: its own answer, else by sigma points."""
    if isinstance(task, HasCostMoments):
        return task.cost_moments(p, t, blur=blur)
    n = p.mean.shape[0] - task.action_space.size
    widened = Gaussian(p.mean, p.cov + blur**2 * jnp.diag(jnp.arange(p.mean.shape[0]) < n).astype(p.mean.dtype))
    y = unscented(lambda xu: task.cost(xu[:n], xu[n:], t)[None], widened)
    mean = y.F @ p.mean + y.f
    return mean[0], (y.F @ widened.cov @ y.F.T + y.cov)[0, 0]
