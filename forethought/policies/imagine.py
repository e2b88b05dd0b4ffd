"""A policy on a learned model, imagined as a chain of Gaussians: what it will cost, and where it will go.

Symbols: x ~ N [n], s features of x [f], u [m] an action, y = x' - x [n], z = [s; u] the model's input.
One step:
    p(x, s)       sines and cosines, exact
    p(x, s, u)    the policy, which sees x as sensors do: noise of half the model's, since y is a difference of two
    p(x, s, u, y) the model at z; its moments at uncertain inputs are exact
    p(x')         x + y
Each is the Gaussian with the right first two moments, given the one before it.
Source: Deisenroth & Rasmussen (2011), section 2.2, and `propagate` of the released code.
Differs: angles are not wrapped, as there.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Gaussian, HasCostMoments, LinearGaussian, Task, join, push_forward
from forethought.core.moments import choice, marginal, unscented, with_sines
from forethought.dynamics.space import StateSpace
from forethought.models.gp_posterior import FittedGP
from forethought.policies.squashed import SquashedPolicy


class Imagined(eqx.Module):
    """A rollout of Gaussians."""

    states: Gaussian  # stacked [T + 1]
    actions: Gaussian  # stacked [T]
    cost: Float[Array, "S"]  # S = T + 1: expected cost of each state and action; of the last state without one
    spread: Float[Array, "S"]  # standard deviation of that cost


def imagine(
    model: FittedGP,
    space: StateSpace,
    policy: SquashedPolicy,
    task: Task,
    start: Gaussian,
    *,
    steps: int,
    blur: Float[Array, ""] | float = 0.0,
    sensor_noise: bool = True,
) -> Imagined:
    """Roll out `steps` steps.

    Differentiable by the policy and the start; the model counts as constant.
    """
    prepared = policy.function.prepared()
    noise = jnp.square(model.noise) / 2 if sensor_noise else jnp.zeros_like(model.noise)

    def step(x: Gaussian, t: Int[Array, ""]) -> tuple[Gaussian, tuple[Any, ...]]:
        joint, u = acted(policy, prepared, space, x, noise)
        d, n, m = joint.mean.shape[0], space.size, u.mean.shape[0]
        x_next = stepped(model, space, joint, n)
        return x_next, (x_next, u, *cost_moments(task, marginal(joint, (*range(n), *range(d - m, d))), t, blur))

    end, (states, actions, cost, variance) = jax.lax.scan(step, start, jnp.arange(steps))
    whole = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, states)
    m = policy.u_min.shape[0]
    final = Gaussian(jnp.pad(end.mean, (0, m)), jnp.pad(end.cov, (0, m)))
    costs, variances = (
        jnp.append(a, b)
        for a, b in zip((cost, variance), cost_moments(task, final, jnp.asarray(steps), blur), strict=True)
    )
    return Imagined(whole, actions, costs, jnp.sqrt(variances + jnp.finfo(variances.dtype).tiny))


def acted(
    policy: SquashedPolicy, prepared: Any, space: StateSpace, x: Gaussian, noise: Float[Array, "n"]
) -> tuple[Gaussian, Gaussian]:
    """The joint over `[x; sines; cosines; u]`, and u alone.

    The sensors' noise widens what the policy sees; the joint is that of the state itself.
    """
    truth = with_sines(x, space.angles)
    seen = with_sines(Gaussian(x.mean, x.cov + jnp.diag(noise)), space.angles)
    places = space.feature_places()
    action = policy.moments(prepared, marginal(seen, places))
    F = action.F @ choice(places, truth)
    # of the sensors' noise, what reaches the action is noise given the state
    felt = F @ (seen.cov - truth.cov) @ F.T
    joint = join(truth, LinearGaussian(F, action.f + F @ (seen.mean - truth.mean), action.cov + felt))
    n = truth.mean.shape[0]
    return joint, Gaussian(joint.mean[n:], joint.cov[n:, n:])


def stepped(model: FittedGP, space: StateSpace, joint: Gaussian, n: int) -> Gaussian:
    """The next state, from the joint over `[x; sines; cosines; u]`."""
    d = joint.mean.shape[0]
    places = (*space.feature_places(), *range(n + 2 * len(space.angles), d))
    change = model.moments(marginal(joint, places), noise=False)
    F = change.F @ choice(places, joint) + choice(range(n), joint)
    return push_forward(joint, LinearGaussian(F, change.f, change.cov))


def cost_moments(
    task: Task, p: Gaussian, t: Int[Array, ""], blur: Float[Array, ""] | float
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of the task's cost for `[x; u] ~ p`: its own answer, else by sigma points."""
    if isinstance(task, HasCostMoments):
        return task.cost_moments(p, t, blur=blur)
    n = p.mean.shape[0] - task.u_min.shape[0]
    widened = Gaussian(p.mean, p.cov + blur**2 * jnp.diag(jnp.arange(p.mean.shape[0]) < n).astype(p.mean.dtype))
    y = unscented(lambda xu: task.cost(xu[:n], xu[n:], t)[None], widened)
    mean = y.F @ p.mean + y.f
    return mean[0], (y.F @ widened.cov @ y.F.T + y.cov)[0, 0]
