"""Affine models of dynamics around a point: analytic where the dynamics give them, by autodiff, by finite differences.

Symbols
    z = [x; u] [n+m]              state and action side by side
    x' = F z + f + noise          F [n, n+m], f [n], cov [n, n]; exact at the point, first-order around it
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Distribution, Dynamics, HasLinearize, LinearGaussian


def linearize(dynamics: Dynamics, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
    """The affine model that touches `dynamics` at `(x, u)`: the mean's Jacobian, and the noise at the point."""
    if isinstance(dynamics, HasLinearize):
        return dynamics.linearize(x, u, t)
    n = x.shape[0]

    def mean(z: Float[Array, "d"]):
        y = dynamics(z[:n], z[n:], t)
        return y.mean, (y.mean, y.cov)

    z = jnp.concatenate([x, u])
    F, (y, cov) = jax.jacfwd(mean, has_aux=True)(z)
    return LinearGaussian(F, y - F @ z, cov)


class FiniteDifferences(eqx.Module):
    """Dynamics that are linearized by central differences: for simulators, which autodiff cannot look into.

    The 2 (n + m) evaluations are one `vmap`; give a host callback `vmap_method="expand_dims"` and they are one call.
    The step of each coordinate is `step * max(1, |z|)`; the error falls with its square until rounding takes over.
    """

    dynamics: Dynamics
    step: float = eqx.field(static=True, default=0.0)  # relative; 0 takes the cube root of the rounding unit

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Distribution:
        """As the dynamics themselves."""
        return self.dynamics(x, u, t)

    def draw(self, *, key: PRNGKeyArray) -> "FiniteDifferences":
        """One function from the posterior, linearized in the same way."""
        return FiniteDifferences(self.dynamics.draw(key=key), self.step)

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """Source: Nocedal & Wright, Numerical Optimization (2006), equation 8.7."""
        n, z = x.shape[0], jnp.concatenate([x, u])
        relative = self.step or float(jnp.finfo(z.dtype).eps) ** (1 / 3)
        steps = relative * jnp.maximum(1, jnp.abs(z))
        shifts = jnp.diag(steps)
        points = jnp.concatenate([z[None] + shifts, z[None] - shifts])
        ends = jax.vmap(lambda z: self.dynamics(z[:n], z[n:], t).mean)(points)
        d = z.shape[0]
        F = ((ends[:d] - ends[d:]) / (2 * steps)[:, None]).T
        y = self.dynamics(x, u, t)
        return LinearGaussian(F, y.mean - F @ z, y.cov)
