"""A cart on a rail with a freely swinging pole.

Symbols
    x = [p, pdot, theta, thetadot]   cart position (m), its speed (m/s), pole angle (rad), angular speed (rad/s)
    u = [force]                      on the cart, along p (N)
    theta = 0 hangs straight down, theta = pi stands upright; the tip of the pole is at
    (p + length sin theta, -length cos theta), its center of mass half-way (a uniform rod).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class CartPole(eqx.Module):
    """Cart and pole, with the constants of the PILCO experiments.

    Source: Deisenroth & Rasmussen, PILCO (2011), and the authors' released scenario.
    """

    cart_mass: float = 0.5  # kg
    pole_mass: float = 0.5  # kg
    pole_length: float = 0.5  # m
    friction: float = 0.1  # N s/m, between cart and rail
    gravity: float = 9.82  # m/s^2
    dt: float = 0.1  # s
    substeps: int = 4  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "4"], u: Float[Array, "1"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "CartPole":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "4"], u: Float[Array, "1"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        _, speed, angle, spin = x
        m, length, g = self.pole_mass, self.pole_length, self.gravity
        total = self.cart_mass + m
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        push = u[0] - self.friction * speed
        inertia = 4 * total - 3 * m * cos**2
        acceleration = (2 * m * length * spin**2 * sin + 3 * m * g * sin * cos + 4 * push) / inertia
        spin_up = (-3 * m * length * spin**2 * sin * cos - 6 * total * g * sin - 6 * push * cos) / (length * inertia)
        return jnp.stack([speed, acceleration, spin, spin_up])

    def energy(self, x: Float[Array, "4"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J; the potential energy is zero if the pole is level with the cart."""
        _, speed, angle, spin = x
        m, length = self.pole_mass, self.pole_length
        translation = 0.5 * (self.cart_mass + m) * speed**2 + 0.5 * m * length * speed * spin * jnp.cos(angle)
        rotation = m * length**2 * spin**2 / 6
        return translation + rotation - 0.5 * m * self.gravity * length * jnp.cos(angle)
