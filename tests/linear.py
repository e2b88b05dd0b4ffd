"""Small systems with known answers, for tests of planners and algorithms."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.core import Box, DiagonalGaussian


class Linear(eqx.Module):
    """x' = A x + B u + noise."""

    A: Float[Array, "n n"]
    B: Float[Array, "n m"]
    std: float = eqx.field(static=True, default=0.0)

    def __call__(self, x, u, t):
        return DiagonalGaussian(self.A @ x + self.B @ u, jnp.full_like(x, self.std))

    def draw(self, *, key):
        return self


class QuadraticTask(eqx.Module):
    """Cost x'x + r u'u, final cost q x'x; ends where |x[0]| > edge."""

    horizon: int = eqx.field(static=True, default=20)
    dt: float = eqx.field(static=True, default=0.1)
    limit: float = eqx.field(static=True, default=1.0)
    effort: float = eqx.field(static=True, default=0.1)
    final: float = eqx.field(static=True, default=1.0)
    edge: float = eqx.field(static=True, default=float("inf"))

    @property
    def action_space(self) -> Box:
        """Within the limit."""
        return Box.symmetric(jnp.array([self.limit]))

    def initial(self, *, key):
        return jnp.array([1.0, 0.0])

    def cost(self, x, u, t):
        return x @ x + self.effort * u @ u

    def final_cost(self, x):
        return self.final * x @ x

    def terminal(self, x):
        return jnp.abs(x[0]) > self.edge

    def solved(self, trajectory):
        return jnp.linalg.norm(trajectory.xs[-1]) < 0.2


def double_integrator(std: float = 0.0) -> Linear:
    """Position and velocity of a unit mass, dt 0.1 s."""
    return Linear(jnp.array([[1.0, 0.1], [0.0, 1.0]]), jnp.array([[0.0], [0.1]]), std)
