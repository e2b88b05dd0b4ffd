"""The common fields of tasks that wrap another task."""

import equinox as eqx

from forethought.core import Box, Discrete, Task
from forethought.core.constraints import has_constraints, risk_of


class WrappedTask(eqx.Module):
    """A task with the horizon, time step and action limits of `base`; subclasses define costs and terminal states."""

    base: eqx.AbstractVar[Task]

    @property
    def horizon(self) -> int:
        """Steps in an episode."""
        return self.base.horizon

    @property
    def dt(self) -> float:
        """Seconds per step."""
        return self.base.dt

    @property
    def action_space(self) -> Box | Discrete:
        """The actions that the base task allows."""
        return self.base.action_space

    @property
    def constrained(self) -> bool:
        """Whether the base task has constraints; see `HasConstraints`."""
        return has_constraints(self.base)

    @property
    def constraint_steps(self) -> int | None:
        """How many steps of a plan must keep the base task's constraints; None: all."""
        return getattr(self.base, "constraint_steps", None)

    @property
    def risk(self) -> float:
        """The largest probability with which a plan may violate the base task's constraints."""
        return risk_of(self.base)
