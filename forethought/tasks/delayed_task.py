"""The task of a system whose actions act some steps after they are chosen; see `forethought.core.delay`.

Costs are those of the state of the system and of the action that acts on it, whenever that was chosen.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Task, Trajectory, step_cost
from forethought.core.delay import Delay
from forethought.tasks.wrapped_task import WrappedTask


class DelayedTask(WrappedTask):
    """The `base` task for states that include past actions."""

    base: Task
    delay: Delay = eqx.field(static=True)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "s"]:
        """An initial state of the system, before which the middle of the action limits acted."""
        x = self.base.initial(key=key)
        return jnp.concatenate([x, self.delay.resting(self.base.action_space).astype(x.dtype)])

    def cost(self, x: Float[Array, "s"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The cost of the action that acts now; a delayed `u` costs when it acts."""
        return self.base.cost(self.delay.state(x), self.delay.applied(x, u), t)

    def step_cost(
        self, x: Float[Array, "s"], u: Shaped[Array, "*m"], x_next: Float[Array, "s"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """As `cost`, for a base task whose cost depends on the next state."""
        return step_cost(self.base, self.delay.state(x), self.delay.applied(x, u), self.delay.state(x_next), t)

    def final_cost(self, x: Float[Array, "s"]) -> Float[Array, ""]:
        """The base task's."""
        return self.base.final_cost(self.delay.state(x))

    def terminal(self, x: Float[Array, "s"]) -> Bool[Array, ""]:
        """The base task's."""
        return self.base.terminal(self.delay.state(x))

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """Whether the states and the actions that acted pass the base task's test of success."""
        xs = trajectory.xs[:, : self.delay.size]
        us = jax.vmap(self.delay.applied)(trajectory.xs[:-1], trajectory.us)
        return self.base.solved(Trajectory(xs, us, trajectory.costs, trajectory.alive))

    def constraint(self, x: Float[Array, "s"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """The base task's constraints on the state and the action that acts, if it is `constrained`."""
        return self.base.constraint(self.delay.state(x), self.delay.applied(x, u), t)  # type: ignore[attr-defined]

    def final_constraint(self, x: Float[Array, "s"]) -> Float[Array, "j"]:
        """The base task's constraints of the last state, if it is `constrained`."""
        return self.base.final_constraint(self.delay.state(x))  # type: ignore[attr-defined]


class DelayedFunction(eqx.Module):
    """A user's function of the system's state and the acting action, for states with past actions; hashable."""

    function: Any = eqx.field(static=True)
    delay: Delay = eqx.field(static=True)

    def __call__(self, x: Shaped[Array, "s"], *u: Any) -> Any:
        """The function's value; its action is the one that acts now."""
        x = jnp.asarray(x)
        return self.function(self.delay.state(x), *(self.delay.applied(x, one) for one in u))

    @property
    def __name__(self) -> str:
        """The name of the function, for messages."""
        return getattr(self.function, "__name__", type(self.function).__name__)
