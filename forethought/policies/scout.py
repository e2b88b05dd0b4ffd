"""Many policies improved at once on what a learned model expects without its uncertainty: cheap, and only a beginning.

A rollout of the model's mean costs N for each output and step where one of Gaussians costs N^2, so that hundreds of
gradient steps for a dozen policies cost less than a few exact evaluations.  What the mean cannot know (that there are no
data where a policy goes) the exact evaluation tells afterwards.
Differs from the search by moments: trajectories from sampled initial states; Adam; a cost that is first blurred.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, Int

from forethought.core import Conditional, Gaussian, Task
from forethought.dynamics.space import StateSpace
from forethought.policies.imagine import cost_moments
from forethought.policies.squashed import SquashedPolicy


@eqx.filter_jit
def scout(
    functions: Any,
    model: Conditional,
    space: StateSpace,
    policy: SquashedPolicy,
    task: Task,
    x0s: Float[Array, "P n"],
    sight: Float[Array, "S"],
    *,
    steps: int,
    rate: float,
    blur: float,
) -> tuple[Any, Float[Array, "C"]]:
    """C policies after `steps` gradient steps each, and what the model's mean expects them to cost.

    Args:
        functions: what the policies are before the squash, stacked [C].
        model: of differences of states.
        space, policy, task: as in `imagine`; `policy.function` is replaced.
        x0s: initial states; the cost is the average over them.
        sight: weight of each state's cost, horizon + 1 of them.
        steps: gradient steps.
        rate: of Adam, in units of the policy's parameters; falls to nothing along a cosine.
        blur: of the cost in the first step, in the unit that the cost measures; falls to nothing half-way.
    """
    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def cost(function: Any, blur: Float[Array, ""]) -> Float[Array, ""]:
        candidate = eqx.tree_at(lambda p: p.function, policy, function)
        prepared = function.prepared()
        one = lambda x0: mean_cost(model, space, candidate, prepared, task, x0, sight, blur)  # noqa: E731
        return jnp.mean(jax.vmap(one)(x0s))

    def improve(function: Any) -> tuple[Any, Float[Array, ""]]:
        def step(carry: Any, i: Int[Array, ""]) -> tuple[Any, None]:
            function, moments = carry
            width = blur * jnp.maximum(0.0, 1 - 2 * i / steps).astype(x0s.dtype)
            gradient = jax.grad(cost)(function, width)
            change, moments = optimiser.update(gradient, moments)
            changed = optax.apply_updates(function, change)
            fine = jnp.isfinite(optax.global_norm(gradient))
            return (jax.tree.map(lambda a, b: jnp.where(fine, a, b), changed, function), moments), None

        (function, _), _ = jax.lax.scan(step, (function, optimiser.init(function)), jnp.arange(steps))
        return function, cost(function, jnp.zeros((), x0s.dtype))

    return jax.vmap(improve)(functions)


def mean_cost(
    model: Conditional,
    space: StateSpace,
    policy: SquashedPolicy,
    prepared: Any,
    task: Task,
    x0: Float[Array, "n"],
    sight: Float[Array, "S"],
    blur: Float[Array, ""],
) -> Float[Array, ""]:
    """The cost of the trajectory from `x0` that the model's mean gives."""
    key = jr.key(0)  # the policy uses none

    def step(x: Float[Array, "n"], weighed: tuple[Int[Array, ""], Float[Array, ""]]):
        t, weight = weighed
        u = policy.act(x, t, prepared, key=key)[0]
        cost = cost_moments(task, Gaussian.point(jnp.concatenate([x, u])), t, blur)[0]
        return x + model(jnp.concatenate([space.features(x), u])).mean, weight * cost

    end, costs = jax.lax.scan(step, x0, (jnp.arange(sight.shape[0] - 1), sight[:-1]))
    final = Gaussian.point(jnp.pad(end, (0, policy.u_min.shape[0])))
    return jnp.sum(costs) + sight[-1] * cost_moments(task, final, jnp.asarray(sight.shape[0] - 1), blur)[0]
