"""A double pendulum: the equations of motion of the acrobot and the planar arm, and the acrobot.

Symbols
    q = [theta1, theta2]     angle of the first rod from hanging, and of the second from the first (rad)
    x = [theta1, theta2, thetadot1, thetadot2]     angles (rad) and angular speeds (rad/s)
    torques = [shoulder, elbow]     in the directions of theta1 and theta2 (N m)
    The elbow is at l1 (sin theta1, -cos theta1); the tip is l2 (sin(theta1 + theta2), -cos(theta1 + theta2)) from it.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class TwoRods(eqx.Module):
    """Two uniform rods: the shoulder is fixed in space, the elbow joins the second rod to the first.

    Source: the manipulator equations `M(q) qdd + C(q, qd) qd + g(q) = torques` (Murray, Li & Sastry, A Mathematical
    Introduction to Robotic Manipulation, 1994, section 4.2.3), for uniform rods.
    """

    mass1: float  # kg
    mass2: float  # kg
    length1: float  # m
    length2: float  # m
    friction: float  # N m s/rad, at each joint
    gravity: float  # m/s^2

    def derivative(self, x: Float[Array, "4"], torques: Float[Array, "2"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        _, angle2, spin1, spin2 = x
        m11, m12, m22 = self._mass_matrix(angle2)
        h = 0.5 * self.mass2 * self.length1 * self.length2 * jnp.sin(angle2)
        weight1, weight2 = self._weights(x)
        b1 = torques[0] - self.friction * spin1 - weight1 + h * (2 * spin1 * spin2 + spin2**2)
        b2 = torques[1] - self.friction * spin2 - weight2 - h * spin1**2
        determinant = m11 * m22 - m12**2
        return jnp.stack([spin1, spin2, (m22 * b1 - m12 * b2) / determinant, (m11 * b2 - m12 * b1) / determinant])

    def energy(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J; the potential energy is zero if both rods are level."""
        angle1, angle2, spin1, spin2 = x
        m11, m12, m22 = self._mass_matrix(angle2)
        kinetic = 0.5 * (m11 * spin1**2 + 2 * m12 * spin1 * spin2 + m22 * spin2**2)
        height1 = (0.5 * self.mass1 + self.mass2) * self.length1 * jnp.cos(angle1)
        return kinetic - self.gravity * (height1 + 0.5 * self.mass2 * self.length2 * jnp.cos(angle1 + angle2))

    def _mass_matrix(self, angle2: Float[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""], float]:
        """The entries (1, 1), (1, 2) and (2, 2) of M, in kg m^2."""
        inertia1, inertia2 = self.mass1 * self.length1**2 / 3, self.mass2 * self.length2**2 / 3
        coupling = 0.5 * self.mass2 * self.length1 * self.length2 * jnp.cos(angle2)
        m11 = inertia1 + inertia2 + self.mass2 * self.length1**2 + 2 * coupling
        return m11, inertia2 + coupling, inertia2

    def _weights(self, x: Float[Array, "4"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The torque at each joint that compensates gravity, in N m."""
        second = 0.5 * self.gravity * self.mass2 * self.length2 * jnp.sin(x[0] + x[1])
        first = self.gravity * (0.5 * self.mass1 + self.mass2) * self.length1 * jnp.sin(x[0])
        return first + second, second


class Acrobot(eqx.Module):
    """Two rods under gravity with one motor, at the elbow: `u = [elbow torque]` (N m)."""

    mass1: float = 1.0  # kg, the rod at the shoulder
    mass2: float = 1.0  # kg
    length1: float = 1.0  # m
    length2: float = 1.0  # m
    friction: float = 0.0  # N m s/rad, at each joint
    gravity: float = 9.81  # m/s^2
    dt: float = 0.05  # s
    substeps: int = 2  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "4"], u: Float[Array, "1"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "Acrobot":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "4"], u: Float[Array, "1"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        return self.rods.derivative(x, jnp.stack([jnp.zeros_like(u[0]), u[0]]))

    def energy(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J."""
        return self.rods.energy(x)

    @property
    def rods(self) -> TwoRods:
        """The same two rods, with torques at both joints."""
        return TwoRods(self.mass1, self.mass2, self.length1, self.length2, self.friction, self.gravity)
