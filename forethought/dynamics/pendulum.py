"""A rod on a hinge, with a motor too weak to lift it directly.

Symbols
    x = [theta, thetadot]   angle (rad) and angular speed (rad/s)
    u = [torque]            torque at the hinge, in the direction of theta (N m)
    theta = 0 hangs straight down, theta = pi stands upright; the tip is at (length sin theta, -length cos theta), its
    center of mass half-way (a uniform rod).
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class Pendulum(eqx.Module):
    """A uniform rod under gravity and torque, with mass and length of Gymnasium's Pendulum.

    Differs: Gymnasium measures the angle from upright, clips the speed, and takes one Euler step.
    """

    mass: float = 1.0  # kg
    length: float = 1.0  # m
    friction: float = 0.0  # N m s/rad, at the hinge
    gravity: float = 9.81  # m/s^2
    dt: float = 0.05  # s
    substeps: int = 2  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "2"], u: Float[Array, "1"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "Pendulum":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "2"], u: Float[Array, "1"]) -> Float[Array, "2"]:
        """`dx/dt`."""
        angle, spin = x
        inertia = self.mass * self.length**2 / 3
        torque = u[0] - self.friction * spin - 0.5 * self.mass * self.gravity * self.length * jnp.sin(angle)
        return jnp.stack([spin, torque / inertia])

    def energy(self, x: Float[Array, "2"]) -> Float[Array, ""]:
        """Kinetic and potential energy, in J; the potential energy is zero if the rod is level."""
        angle, spin = x
        kinetic = self.mass * self.length**2 * spin**2 / 6
        return kinetic - 0.5 * self.mass * self.gravity * self.length * jnp.cos(angle)
