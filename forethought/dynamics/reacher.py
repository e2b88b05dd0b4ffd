"""A two-link arm that moves in a horizontal plane.

Symbols as in `forethought.dynamics.double_pendulum`, except that theta1 is measured from the plane's first axis:
the elbow is at l1 (cos theta1, sin theta1); the tip is l2 (cos(theta1 + theta2), sin(theta1 + theta2)) from it.
"""

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.double_pendulum import TwoRods
from forethought.dynamics.integrate import rk4


class TwoLinkArm(eqx.Module):
    """Two rods without gravity, a motor at each joint: `u = [shoulder torque, elbow torque]` (N m)."""

    mass1: float = 0.5  # kg, the link at the shoulder
    mass2: float = 0.5  # kg
    length1: float = 0.5  # m
    length2: float = 0.5  # m
    friction: float = 0.05  # N m s/rad, at each joint
    dt: float = 0.05  # s
    substeps: int = 2  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "TwoLinkArm":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "4"], u: Float[Array, "2"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        return self.rods.derivative(x, u)

    def energy(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """Kinetic energy, in J."""
        return self.rods.energy(x)

    @property
    def rods(self) -> TwoRods:
        """The same two rods; without gravity, the direction from which theta1 is measured has no effect."""
        return TwoRods(self.mass1, self.mass2, self.length1, self.length2, self.friction, 0.0)
