"""A quadrotor that flies in a vertical plane: a bar with a propeller at each end.

Symbols
    x = [px, pz, phi, vx, vz, phidot]   position right and up (m), roll counter-clockwise (rad), and their speeds
    u = [left, right]                   thrusts along the body's own upward axis (-sin phi, cos phi) (N)
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class PlanarQuadrotor(eqx.Module):
    """A rigid body under gravity and two thrusts; a larger right thrust rolls it counter-clockwise."""

    mass: float = 1.0  # kg
    inertia: float = 0.05  # kg m^2, about the center of mass
    arm: float = 0.25  # m, from the center of mass to each propeller
    gravity: float = 9.81  # m/s^2
    dt: float = 0.05  # s
    substeps: int = 1  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "6"], u: Float[Array, "2"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "PlanarQuadrotor":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "6"], u: Float[Array, "2"]) -> Float[Array, "6"]:
        """`dx/dt`."""
        _, _, roll, vx, vz, spin = x
        left, right = u
        lift = (left + right) / self.mass
        spin_up = (right - left) * self.arm / self.inertia
        return jnp.stack([vx, vz, spin, -lift * jnp.sin(roll), lift * jnp.cos(roll) - self.gravity, spin_up])

    def energy(self, x: Float[Array, "6"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J; the potential energy is zero at height 0."""
        _, height, _, vx, vz, spin = x
        return 0.5 * self.mass * (vx**2 + vz**2) + 0.5 * self.inertia * spin**2 + self.mass * self.gravity * height
