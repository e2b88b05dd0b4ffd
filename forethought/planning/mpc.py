"""Model-predictive control: plan at every step, execute the first action, keep the rest as a warm start."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Plan, Planner, Problem


class MPC(eqx.Module):
    """A controller around any planner; its carry is the planner's state."""

    planner: Planner = eqx.field(static=True)
    problem: Problem

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """No plan yet."""
        del x0, key
        return self.planner.init(self.problem)

    def plan(self, x: Float[Array, "n"], carry: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """What the planner intends from `x` on."""
        return self.planner.plan(self.problem, x, carry, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """The first action of a new plan, within the task's limits."""
        del t
        plan, carry = self.plan(x, carry, key=key)
        u = plan.policy.F[0] @ x + plan.policy.f[0]
        return jnp.clip(u, self.problem.task.u_min, self.problem.task.u_max), carry
