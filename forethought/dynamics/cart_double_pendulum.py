"""A cart on a rail with two freely swinging rods, the second hinged to the end of the first.

Symbols
    x = [p, pdot, theta1, theta2, thetadot1, thetadot2]     cart position (m), its speed (m/s), angles of the rods
                                                            (rad), their angular speeds (rad/s)
    u = [force]                                             on the cart, along p (N)
    Both angles are measured from hanging straight down: theta = 0 is down, theta = pi is up.  The elbow is at
    (p + l1 sin theta1, -l1 cos theta1); the tip is (l2 sin theta2, -l2 cos theta2) away from the elbow.
    M(theta) [pdotdot, thetadotdot1, thetadotdot2] = forces, with M [3, 3] symmetric positive definite.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class CartDoublePendulum(eqx.Module):
    """Cart and two uniform rods, with the constants of the PILCO experiments.

    Source: Deisenroth, Fox & Rasmussen (2015), and the authors' released scenario.
    Differs: angles are measured from hanging, as for the cart-pole here.
    """

    cart_mass: float = 0.5  # kg
    mass1: float = 0.5  # kg, the rod at the cart
    mass2: float = 0.5  # kg
    length1: float = 0.6  # m
    length2: float = 0.6  # m
    friction: float = 0.1  # N s/m, between cart and rail
    gravity: float = 9.82  # m/s^2
    dt: float = 0.05  # s
    substeps: int = 4  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "6"], u: Float[Array, "1"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "CartDoublePendulum":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "6"], u: Float[Array, "1"]) -> Float[Array, "6"]:
        """`dx/dt`."""
        _, speed, angle1, angle2, spin1, spin2 = x
        a1, a2, m11, m22, m12, (total, first, second, both) = self._mass_matrix(x)
        twist = both * jnp.sin(angle1 - angle2)
        sin1, sin2 = jnp.sin(angle1), jnp.sin(angle2)
        force = u[0] - self.friction * speed + first * spin1**2 * sin1 + second * spin2**2 * sin2
        torque1 = -twist * spin2**2 - self.gravity * first * sin1
        torque2 = twist * spin1**2 - self.gravity * second * sin2
        # Cramer's rule for the symmetric 3 by 3 system: a call of a solver would take longer than the whole step.
        c00, c01, c02 = m11 * m22 - m12**2, a2 * m12 - a1 * m22, a1 * m12 - a2 * m11
        c11, c12, c22 = total * m22 - a2**2, a1 * a2 - total * m12, total * m11 - a1**2
        determinant = total * c00 + a1 * c01 + a2 * c02
        acceleration = c00 * force + c01 * torque1 + c02 * torque2
        spin_up1 = c01 * force + c11 * torque1 + c12 * torque2
        spin_up2 = c02 * force + c12 * torque1 + c22 * torque2
        return jnp.stack(
            [speed, acceleration / determinant, spin1, spin2, spin_up1 / determinant, spin_up2 / determinant]
        )

    def energy(self, x: Float[Array, "6"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J; the potential energy is zero if both rods are level with the cart."""
        _, speed, angle1, angle2, spin1, spin2 = x
        a1, a2, m11, m22, m12, (total, first, second, _) = self._mass_matrix(x)
        squares = 0.5 * (total * speed**2 + m11 * spin1**2 + m22 * spin2**2)
        kinetic = squares + a1 * speed * spin1 + a2 * speed * spin2 + m12 * spin1 * spin2
        return kinetic - self.gravity * (first * jnp.cos(angle1) + second * jnp.cos(angle2))

    def _mass_matrix(self, x: Float[Array, "6"]) -> tuple:
        """The entries (0, 1), (0, 2), (1, 1), (2, 2), (1, 2) of M, and the constants in them."""
        m1, m2, l1, l2 = self.mass1, self.mass2, self.length1, self.length2
        total, first, second, both = self.cart_mass + m1 + m2, (0.5 * m1 + m2) * l1, 0.5 * m2 * l2, 0.5 * m2 * l1 * l2
        a1, a2, m12 = first * jnp.cos(x[2]), second * jnp.cos(x[3]), both * jnp.cos(x[2] - x[3])
        return a1, a2, (m1 / 3 + m2) * l1**2, m2 * l2**2 / 3, m12, (total, first, second, both)
