"""Dense linear algebra for covariance matrices.

Covariances may be singular (a point has covariance zero), so every factorisation takes a jitter that is relative to
the matrix's own scale.  No explicit inverse is ever formed.
"""

import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float


def symmetrise(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The symmetric part of `a`."""
    return 0.5 * (a + a.T)


def cholesky(a: Float[Array, "n n"], *, jitter: float = 0.0) -> Float[Array, "n n"]:
    """Lower Cholesky factor of `a + jitter * mean(diag a) * I`; NaN where that is not positive definite."""
    scale = jitter * jnp.trace(a) / a.shape[0]
    return jnp.linalg.cholesky(symmetrise(a) + scale * jnp.eye(a.shape[0], dtype=a.dtype))


def solve_psd(a: Float[Array, "n n"], b: Float[Array, "n *k"], *, jitter: float = 0.0) -> Float[Array, "n *k"]:
    """Solve `a x = b` for symmetric positive definite `a`, through its Cholesky factor."""
    return jsl.cho_solve((cholesky(a, jitter=jitter), True), b)


def psd_sqrt(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A factor `r` with `r r' = a` for positive semi-definite `a`, singular ones included.

    Negative eigenvalues of rounding size count as zero.
    """
    values, vectors = jnp.linalg.eigh(symmetrise(a))
    return vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
