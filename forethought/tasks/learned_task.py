"""Tasks whose cost or termination is learned from recorded transitions.

A learned reward is an additional coordinate of the state, x = [o; r], where r is the reward of the step that led to x.
The model of the dynamics predicts it together with the observation.  The cost of a step is therefore -r of the next
state, whether the reward depends on the state, the action or the next state (`forethought.core.timing`).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import ContinuousConditional, Controller, Task, Trajectory, UsageError, step_cost
from forethought.tasks.wrapped_task import WrappedTask


class LearnedTask(WrappedTask):
    """The `base` task with its unknown parts replaced by learned ones.

    `reward_in_state`: states are [o; r], and the cost of a step is -r of the next state.  `termination`: the log-odds
    that `o` is terminal; None if the base task defines its terminal states.
    """

    base: Task
    termination: ContinuousConditional | None
    reward_in_state: bool = eqx.field(static=True)
    never_terminal: bool = eqx.field(static=True, default=False)  # no episode has terminated so far
    final_weight: float = eqx.field(static=True, default=1.0)  # weight of the cost of the last state; see `final_cost`

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """An initial state of the base task, with r = 0."""
        return self._extend(self.base.initial(key=key))

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's cost; raises `UsageError` if the reward is learned, because it depends on the next state."""
        if self.reward_in_state:
            raise UsageError("A learned reward is known only after the step: use step_cost(task, x, u, x_next, t).")
        return self.base.cost(x, u, t)

    def step_cost(
        self, x: Float[Array, "n"], u: Float[Array, "m"], x_next: Float[Array, "n"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """The negative learned reward of the step, or the base task's cost."""
        return -x_next[-1] if self.reward_in_state else step_cost(self.base, x, u, x_next, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The cost of the last state with weight `final_weight`: a rough estimate of the cost beyond the horizon.

        A learned reward of the last step is already charged once, so its weight here is `final_weight` - 1.
        """
        if self.reward_in_state:
            return (self.final_weight - 1) * -x[-1]
        return self.final_weight * self.base.final_cost(x)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether the episode ends in `x`."""
        if self.never_terminal:
            return jnp.zeros((), bool)
        o = self._observed(x)
        if self.termination is None:
            return self.base.terminal(o)
        return self.termination(o).mean[0] > 0

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """Whether the trajectory passes the base task's test of success."""
        return self.base.solved(trajectory)

    def constraint(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """The base task's constraints, if it is `constrained`."""
        return self.base.constraint(self._observed(x), u, t)  # type: ignore[attr-defined]

    def final_constraint(self, x: Float[Array, "n"]) -> Float[Array, "j"]:
        """The base task's constraints of the last state, if it is `constrained`."""
        return self.base.final_constraint(self._observed(x))  # type: ignore[attr-defined]

    def _observed(self, x: Float[Array, "n"]) -> Float[Array, "o"]:
        return x[:-1] if self.reward_in_state else x

    def _extend(self, o: Float[Array, "o"]) -> Float[Array, "n"]:
        return jnp.pad(o, (0, int(self.reward_in_state)))


class FromObservation(eqx.Module):
    """A controller for observations `o`, made from a controller for states `[o; r]`, which is called with r = 0."""

    inner: Controller

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """The inner controller's first carry."""
        return self.inner.init(jnp.pad(x0, (0, 1)), key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """The inner controller's action."""
        return self.inner.act(jnp.pad(x, (0, 1)), t, carry, key=key)

    def act_with_result(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Int[Array, ""], Any]:
        """The inner controller's action with the result of its plan, if it plans in each step."""
        return self.inner.act_with_result(jnp.pad(x, (0, 1)), t, carry, key=key)  # type: ignore[attr-defined]
