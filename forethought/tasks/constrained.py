"""A task with constraints on states and actions, for planners that keep them."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Task, Trajectory
from forethought.tasks.wrapped_task import WrappedTask


class Constrained(WrappedTask):
    """The task `base`, subject to `limit(x, u, t) <= 0` [k] at every step and `final_limit(x) <= 0` [j] in the end.

    Costs, limits of actions and the test of success stay the base task's.
    """

    base: Task
    limit: Callable[[Array, Array, Array], Array] = eqx.field(static=True)
    final_limit: Callable[[Array], Array] | None = eqx.field(static=True, default=None)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The base task's."""
        return self.base.initial(key=key)

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's."""
        return self.base.cost(x, u, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The base task's."""
        return self.base.final_cost(x)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """The base task's."""
        return self.base.terminal(x)

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """The base task's."""
        return self.base.solved(trajectory)

    def constraint(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """What must not be positive at a step."""
        return self.limit(x, u, t)

    def final_constraint(self, x: Float[Array, "n"]) -> Float[Array, "j"]:
        """What must not be positive in the end."""
        return jnp.zeros(0, x.dtype) if self.final_limit is None else self.final_limit(x)
