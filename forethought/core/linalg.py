"""Dense linear algebra for covariance matrices.

Covariances may be singular (a point has covariance zero), so every factorization adds jitter relative to the scale of
the matrix.  An explicit inverse is computed only if all its entries are needed.
"""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float


def symmetrize(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The symmetric part of `a`."""
    return 0.5 * (a + a.T)


def cholesky(a: Float[Array, "n n"], *, jitter: float = 0.0) -> Float[Array, "n n"]:
    """Lower Cholesky factor of `a + jitter * mean(diag a) * I`; NaN if this matrix is not positive definite."""
    scale = jitter * jnp.trace(a) / a.shape[0]
    return jnp.linalg.cholesky(symmetrize(a) + scale * jnp.eye(a.shape[0], dtype=a.dtype))


def solve_psd(a: Float[Array, "n n"], b: Float[Array, "n *k"], *, jitter: float = 0.0) -> Float[Array, "n *k"]:
    """Solve `a x = b` for symmetric positive definite `a`, through its Cholesky factor."""
    return jsl.cho_solve((cholesky(a, jitter=jitter), True), b)


@jax.custom_jvp
def inverse_and_log_det(a: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """Inverse and log-determinant of a symmetric positive definite matrix, if the whole inverse is needed.

    Its derivative takes two matrix products; the derivative of a factorization takes a dozen operations.
    """
    factor = cholesky(a)
    inverse = jsl.cho_solve((factor, True), jnp.eye(a.shape[0], dtype=a.dtype))
    return symmetrize(inverse), 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


@inverse_and_log_det.defjvp
def _inverse_and_log_det_jvp(primals: tuple, tangents: tuple) -> tuple[tuple, tuple]:
    ((a,), (da,)) = primals, tangents
    inverse, log_det = inverse_and_log_det(a)
    return (inverse, log_det), (-inverse @ da @ inverse, jnp.sum(inverse * da))


def psd_sqrt(a: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """A factor `r` with `r r' = a` for positive semi-definite `a`, singular ones included.

    Negative eigenvalues, which come from rounding, are set to zero.
    """
    values, vectors = jnp.linalg.eigh(symmetrize(a))
    return vectors * jnp.sqrt(jnp.maximum(values, 0))[None, :]
