"""The common fields of tasks that wrap another task."""

import equinox as eqx

from forethought.core import Box, Discrete, Task


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
