"""A task with constraints on states and actions, which planners keep; see `forethought.core.constraints`."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Task, Trajectory, step_cost
from forethought.tasks.wrapped_task import WrappedTask


class Constrained(WrappedTask):
    """The task `base` with constraints: `limit(x, u, t) <= 0` [k] at each step, `final_limit(x) <= 0` [j] at the last.

    Where the model is uncertain, a plan may violate them with a probability of at most `risk`, in [0, 1).  Costs,
    action limits and the test of success are those of the base task.
    """

    base: Task
    limit: Callable[[Array, Array, Array], Array] = eqx.field(static=True)
    final_limit: Callable[[Array], Array] | None = eqx.field(static=True, default=None)
    risk: float = eqx.field(static=True, default=0.0)  # largest probability with which a plan may violate them
    constraint_steps: int | None = eqx.field(static=True, default=None)  # first steps of a plan that are judged; all

    def __check_init__(self) -> None:
        """A probability, and at least one step."""
        if self.constraint_steps is not None and self.constraint_steps < 1:
            raise ValueError(f"Constrained.constraint_steps must be at least 1, got {self.constraint_steps}.")
        if not 0 <= self.risk < 1:
            raise ValueError(f"Constrained.risk is a probability in [0, 1), got {self.risk}.")

    @property
    def constrained(self) -> bool:
        """True."""
        return True

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """An initial state of the base task."""
        return self.base.initial(key=key)

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's cost."""
        return self.base.cost(x, u, t)

    def step_cost(
        self, x: Float[Array, "n"], u: Float[Array, "m"], x_next: Float[Array, "n"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """The step cost of the base task."""
        return step_cost(self.base, x, u, x_next, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The base task's final cost."""
        return self.base.final_cost(x)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether `x` is terminal in the base task."""
        return self.base.terminal(x)

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """Whether the trajectory passes the base task's test of success."""
        return self.base.solved(trajectory)

    def constraint(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """The values that must not be positive at a step."""
        return self.limit(x, u, t)

    def final_constraint(self, x: Float[Array, "n"]) -> Float[Array, "j"]:
        """The values that must not be positive in the last state."""
        return jnp.zeros(0, x.dtype) if self.final_limit is None else self.final_limit(x)
