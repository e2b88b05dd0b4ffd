"""Tasks whose cost or termination is learned from what the environment reported.

A learned reward is one more coordinate of the state, x = [o; r], r the reward of the step that led there: the model
of the dynamics predicts it beside the observation, and its particles carry it.  So the cost of a state is -r, whether
the reward depends on the state, the action or the state that follows.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Conditional, Controller, Task, Trajectory
from forethought.tasks.wrapped_task import WrappedTask


class LearnedTask(WrappedTask):
    """The `base` task with its unknown parts replaced by learned ones.

    `reward_in_state`: states are [o; r] and the cost is -r.  `termination`: the log-odds that `o` is terminal; None
    where the base task knows.
    """

    base: Task
    termination: Conditional | None
    reward_in_state: bool = eqx.field(static=True)
    never_terminal: bool = eqx.field(static=True, default=False)  # no end was ever seen
    final_weight: float = eqx.field(static=True, default=1.0)  # of the final cost: a crude value beyond the horizon

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The base task's, with no reward yet."""
        return self._extend(self.base.initial(key=key))

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """Minus the reward of the step that led to `x`, or the base task's cost."""
        return -x[-1] if self.reward_in_state else self.base.cost(x, u, t)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Likewise for the last state, `final_weight` times."""
        return self.final_weight * (-x[-1] if self.reward_in_state else self.base.final_cost(x))

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether the episode ends in `x`."""
        if self.never_terminal:
            return jnp.zeros((), bool)
        o = x[:-1] if self.reward_in_state else x
        if self.termination is None:
            return self.base.terminal(o)
        return self.termination(o).mean[0] > 0

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """The base task's own test."""
        return self.base.solved(trajectory)

    def _extend(self, o: Float[Array, "o"]) -> Float[Array, "n"]:
        return jnp.pad(o, (0, int(self.reward_in_state)))


class FromObservation(eqx.Module):
    """A controller for observations `o`, made of one for states `[o; r]`."""

    inner: Controller

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """The inner controller's."""
        return self.inner.init(jnp.pad(x0, (0, 1)), key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """The reward so far is sunk: zero."""
        return self.inner.act(jnp.pad(x, (0, 1)), t, carry, key=key)
