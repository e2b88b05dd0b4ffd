"""Deterministic trajectories of a problem: states by the means of its dynamics, and what they cost."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Problem, trajectory_costs


def follow(
    problem: Problem,
    x0: Float[Array, "n"],
    act: Callable[[Float[Array, "n"], Int[Array, ""]], Float[Array, "m"]],
    T: int,
) -> tuple[Float[Array, "T1 n"], Float[Array, "T m"]]:
    """States [T+1] and actions [T] of the policy `act(x, i)`, where `i` counts the steps of the plan from 0."""

    def step(x, inputs):
        i, t = inputs
        u = act(x, i)
        return problem.dynamics(x, u, t).mean, (x, u)

    last, (xs, us) = jax.lax.scan(step, x0, (jnp.arange(T), problem.times(T)))
    return jnp.concatenate([xs, last[None]]), us


def stage_costs(problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"]) -> Float[Array, "T+1"]:
    """The cost of every step of a plan, the final one last; see `forethought.core.timing`."""
    return trajectory_costs(problem.task, xs, us, problem.times(us.shape[0]))
