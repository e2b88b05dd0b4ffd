"""A car that cannot move sideways (a unicycle with inertia).

Symbols
    x = [px, py, heading, speed]        position (m), heading counter-clockwise from the first axis (rad), speed (m/s)
    u = [acceleration, turn rate]       acceleration along the heading (m/s^2), rate of the heading (rad/s)
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.dynamics.integrate import rk4


class Car(eqx.Module):
    """Moves only along its heading, forwards or backwards."""

    drag: float = 0.1  # 1/s, rate at which the speed decays
    dt: float = 0.1  # s
    substeps: int = 1  # Runge-Kutta steps within dt

    def __call__(self, x: Float[Array, "4"], u: Float[Array, "2"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps))

    def draw(self, *, key: PRNGKeyArray) -> "Car":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "4"], u: Float[Array, "2"]) -> Float[Array, "4"]:
        """`dx/dt`."""
        _, _, heading, speed = x
        acceleration, turn = u
        return jnp.stack([speed * jnp.cos(heading), speed * jnp.sin(heading), turn, acceleration - self.drag * speed])
