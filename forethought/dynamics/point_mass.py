"""A point mass that moves in a plane.

Symbols
    x = [px, py, vx, vy]        position (m), velocity (m/s)
    u = [fx, fy]                force (N)
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class PointMass(eqx.Module):
    """A mass with friction, pushed in any direction."""

    mass: float = 1.0  # kg
    friction: float = 0.2  # N s/m
    dt: float = 0.05  # s
    substeps: int = 1  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "PointMass":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "4"], u: Float[Array, "2"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        return jnp.concatenate([x[2:], (u - self.friction * x[2:]) / self.mass])
