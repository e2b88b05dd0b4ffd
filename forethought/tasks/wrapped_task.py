"""What tasks made out of another task have in common."""

import equinox as eqx
from jaxtyping import Array, Float

from forethought.core import Task


class WrappedTask(eqx.Module):
    """A task with the clock and the action limits of `base`; costs and ends are its own."""

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
    def u_min(self) -> Float[Array, "m"]:
        """Lower action limits."""
        return self.base.u_min

    @property
    def u_max(self) -> Float[Array, "m"]:
        """Upper action limits."""
        return self.base.u_max
