"""Linearization of dynamics at a point: analytic if the dynamics provide it, else by autodiff or finite differences.

Symbols
    z = [x; u] [n+m]              state and action side by side
    x' = F z + f + noise          F [n, n+m], f [n], cov [n, n]; exact at the point, first-order around it
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Continuous, Dynamics, HasLinearize, LinearGaussian


def linearize(dynamics: Dynamics, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
    """The linearization of `dynamics` at `(x, u)`: value and Jacobian of the mean, and the noise at that point."""
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
    """Dynamics that are linearized by central differences: for simulators, which autodiff cannot differentiate.

    The 2 (n + m) evaluations are one `vmap`: a host callback with `vmap_method="expand_dims"` gets them in one call.
    The step of each coordinate is `step * max(1, |z|)`; the error decreases with its square until rounding dominates.
    """

    dynamics: Dynamics
    step: float = eqx.field(static=True, default=0.0)  # relative step size; 0: the cube root of the machine epsilon

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Continuous:
        """The prediction of the wrapped dynamics."""
        return self.dynamics(x, u, t)

    def draw(self, *, key: PRNGKeyArray) -> "FiniteDifferences":
        """One function from the posterior of the wrapped dynamics, linearized in the same way."""
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
