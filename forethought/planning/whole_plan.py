"""Controllers that execute a whole plan: `WholePlan` makes it where the episode begins, `Following` is given it.

With feedback the action is the plan's policy in the state reached, clip(F_t x + f_t); without, the planned action u_t.
A plan without gains (F = 0) is executed open loop either way.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Plan, Planner, Problem, UsageError


class Following(eqx.Module):
    """A controller that executes `plan` from its first step to its last, which it repeats after the plan's end."""

    plan: Plan
    feedback: bool = eqx.field(static=True, default=True)  # false: replay the planned actions

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], tuple[()]]:
        """The action at step `t` of the plan, within the limits."""
        del key
        us = self.plan.us
        step = jnp.minimum(t, us.shape[0] - 1)
        return self.plan.act(x, step) if self.feedback else self.plan.action_space.clip(us[step]), carry


class WholePlan(eqx.Module):
    """A controller that plans once, from the initial state, and executes this plan; its memory is the plan."""

    planner: Planner = eqx.field(static=True)
    problem: Problem
    feedback: bool = eqx.field(static=True, default=True)  # false: replay the planned actions

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Plan:
        """The plan from `x0`."""
        return self.planner.plan(self.problem, x0, self.planner.init(self.problem), key=key)[0]

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Plan, *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Plan]:
        """The action at step `t` of the plan."""
        return Following(carry, self.feedback).act(x, t, (), key=key)[0], carry


def require_whole(planner: Planner, steps: int, who: str) -> None:
    """Raise `UsageError` where a plan is shorter than an episode of `steps` steps; `who` executes it as a whole."""
    horizon = getattr(planner, "horizon", None)
    if horizon is not None and horizon < steps:
        raise UsageError(
            f"{who} executes one plan for the whole episode of {steps} steps, and the planner's horizon is {horizon}: "
            f"set --planner.horizon {steps}."
        )
