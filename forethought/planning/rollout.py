"""Deterministic trajectories of a problem: states by the means of its dynamics, and what they cost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Problem


def follow(
    problem: Problem,
    x0: Float[Array, "n"],
    act: Callable[[Float[Array, "n"], Int[Array, ""]], Float[Array, "m"]],
    T: int,
) -> tuple[Float[Array, "S n"], Float[Array, "T m"]]:
    """States [T+1] and actions [T] of the policy `act(x, t)`."""

    def step(x, t):
        u = act(x, t)
        return problem.dynamics(x, u, t).mean, (x, u)

    last, (xs, us) = jax.lax.scan(step, x0, jnp.arange(T))
    return jnp.concatenate([xs, last[None]]), us


def stage_costs(problem: Problem, xs: Float[Array, "S n"], us: Float[Array, "T m"]) -> Float[Array, "S"]:
    """The cost of every step, the final one last.  Terminal states are not looked at: the system goes on."""
    costs = jax.vmap(problem.task.cost)(xs[:-1], us, jnp.arange(us.shape[0]))
    return jnp.concatenate([costs, problem.task.final_cost(xs[-1])[None]]).astype(xs.dtype)
