"""Gaussians through functions: exact moments if they are known, else sigma points or Taylor expansions.

Symbols: input z ~ N(mean, cov) [d]; output y = f(z) [e].
Each function returns the affine conditional `y | z ~ N(F z + f, cov)` with `F = E[dy/dz]`.  By Stein's lemma
`Cov(z, y) = cov(z) F'`, so the joint of `z` and this conditional has the mean and covariance of y and the
cross-covariance of z and y.  `F` is defined even if `cov(z)` is singular, and no inverse is needed.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
import numpy as np
from jaxtyping import Array, Float

from forethought.core.gaussian import Gaussian, LinearGaussian
from forethought.core.linalg import cholesky, inverse_and_log_det, symmetrize

Function = Callable[[Float[Array, "d"]], Float[Array, "e"]]


def matched(p: Gaussian, mean: Float[Array, "e"], cov: Float[Array, "e e"], F: Float[Array, "e d"]) -> LinearGaussian:
    """The conditional of y with the given moments: `mean` and `cov` of y, and `F = E[dy/dz]`."""
    return LinearGaussian(F, mean - F @ p.mean, symmetrize(cov - F @ p.cov @ F.T))


def cosines(p: Gaussian, waves: Float[np.ndarray, "e d"], phase: float | Float[np.ndarray, "e"]) -> LinearGaussian:
    """`y = cos(waves z + phase)`, exact.

    Source: E exp(i w'z) = exp(i w'mean - 0.5 w'cov w), for the sums and differences of rows of `waves`.
    """
    return matched(p, *_cosines(p, waves, phase))


def _cosines(
    p: Gaussian, waves: Float[np.ndarray, "e d"], phase: float | Float[np.ndarray, "e"]
) -> tuple[Float[Array, "e"], Float[Array, "e e"], Float[Array, "e d"]]:
    """Mean and covariance of y, and `E[dy/dz]`."""
    E = jnp.asarray(waves, p.mean.dtype)
    mean, cov = E @ p.mean + jnp.asarray(phase, p.mean.dtype), E @ p.cov @ E.T
    half = jnp.sum(cov * jnp.eye(E.shape[0], dtype=E.dtype), 0) / 2  # not `diagonal`: its gradient is a slow scatter
    shrink = jnp.exp(-half)
    both = half[:, None] + half[None]
    apart = _gain(cov, both) * jnp.cos(mean[:, None] - mean[None])
    joined = _gain(-cov, both) * jnp.cos(mean[:, None] + mean[None])
    F = -(shrink * jnp.sin(mean))[:, None] * E
    return shrink * jnp.cos(mean), 0.5 * (apart + joined), F


@jax.custom_jvp
def _gain(cov: Float[Array, "e e"], both: Float[Array, "e e"]) -> Float[Array, "e e"]:
    """`exp(cov - both) - exp(-both)`: without cancellation for small `cov` and without overflow for large `cov`."""
    rise = jnp.maximum(cov, 0)
    return jnp.sign(cov) * jnp.exp(rise - both) * -jnp.expm1(-jnp.abs(cov))


@_gain.defjvp
def _gain_jvp(primals: tuple, tangents: tuple) -> tuple:
    (cov, both), (d_cov, d_both) = primals, tangents
    gain = _gain(cov, both)
    return gain, jnp.exp(cov - both) * d_cov - gain * d_both


def with_sines(p: Gaussian, angles: tuple[int, ...]) -> Gaussian:
    """The joint over `[z; sin z_i; cos z_i]` for i in `angles`, moments exact."""
    if not angles:
        return p
    mean, cov, F = _cosines(p, *_sine_waves(p, angles))
    cross = p.cov @ F.T
    return Gaussian(jnp.concatenate([p.mean, mean]), jnp.block([[p.cov, cross], [cross.T, cov]]))


def sines(p: Gaussian, angles: tuple[int, ...]) -> LinearGaussian:
    """`y = [sin z_i; cos z_i]` for i in `angles`, exact."""
    return cosines(p, *_sine_waves(p, angles))


def _sine_waves(p: Gaussian, angles: tuple[int, ...]) -> tuple[Float[np.ndarray, "e d"], Float[np.ndarray, "e"]]:
    rows = np.eye(p.mean.shape[0])[list(angles)]
    return np.concatenate([rows, rows]), np.repeat([-np.pi / 2, 0.0], len(angles))


def squashed(p: Gaussian, limit: Float[Array, "d"]) -> LinearGaussian:
    """`y = limit (9 sin z + sin 3z) / 8`, exact: y is within the limit, and its slope is zero at the limit.

    Source: Deisenroth, Fox & Rasmussen (2015), section on the squashing function; `gSat` of the released code.
    """
    d = p.mean.shape[0]
    mean, cov, F = _cosines(p, np.concatenate([np.eye(d), 3 * np.eye(d)]), -np.pi / 2)
    blend = limit[:, None] * jnp.asarray(np.concatenate([9 * np.eye(d), np.eye(d)], axis=1) / 8, p.mean.dtype)
    return matched(p, blend @ mean, blend @ cov @ blend.T, blend @ F)


def squash(z: Float[Array, "d"], limit: Float[Array, "d"]) -> Float[Array, "d"]:
    """The function that `squashed` pushes Gaussians through."""
    return limit * (9 * jnp.sin(z) + jnp.sin(3 * z)) / 8


def affine(p: Gaussian, A: Float[Array, "e d"], b: Float[Array, "e"] | float = 0.0) -> Gaussian:
    """The distribution of `A z + b`."""
    return Gaussian(A @ p.mean + b, symmetrize(A @ p.cov @ A.T))


def marginal(p: Gaussian, places: Sequence[int]) -> Gaussian:
    """The distribution of some coordinates, in the order given."""
    E = choice(places, p)
    return Gaussian(E @ p.mean, E @ p.cov @ E.T)


def choice(places: Sequence[int], p: Gaussian) -> Float[Array, "k d"]:
    """The matrix that selects coordinates; a small product is faster than indexing, whose gradient is a scatter."""
    return jnp.asarray(np.eye(p.mean.shape[0])[list(places)], p.mean.dtype)


def quadratic_moments(p: Gaussian, weight: Float[Array, "d d"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of `z' weight z`, exact; `weight` symmetric."""
    spread = weight @ p.cov
    slope = weight @ p.mean
    mean = p.mean @ slope + jnp.trace(spread)
    return mean, 2 * jnp.trace(spread @ spread) + 4 * slope @ p.cov @ slope


def saturating_moments(
    p: Gaussian, *, width: Float[Array, ""] | float, smoothing: Float[Array, ""] | float = 0.0
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of `1 - exp(-|z|^2 / (2 width^2))`, exact; `smoothing`: standard deviation of noise added to z.

    Source: Deisenroth & Rasmussen (2011), section 2.3; `lossSat` of the released code.
    """
    p = Gaussian(p.mean, p.cov + smoothing**2 * jnp.eye(p.mean.shape[0], dtype=p.mean.dtype))
    kept = _expected_bump(p, width)
    return 1 - kept, jnp.maximum(_expected_bump(p, width / jnp.sqrt(2.0)) - kept**2, 0)


def _expected_bump(p: Gaussian, width: Float[Array, ""] | float) -> Float[Array, ""]:
    """`E exp(-|z|^2 / (2 width^2))`."""
    inverse, log_det = inverse_and_log_det(jnp.eye(p.mean.shape[0], dtype=p.mean.dtype) + p.cov / width**2)
    return jnp.exp(-0.5 * (p.mean @ inverse @ p.mean / width**2 + log_det))


def unscented(function: Function, p: Gaussian, *, spread: float = 3.0) -> LinearGaussian:
    """Moments from 2d + 1 sigma points; exact for affine functions, the mean also for functions cubic along each axis.

    Args:
        function: y [e] of z [d].
        p: distribution of z; `cov` may be singular (`eps^(2/3)` is added to it; F is then a finite difference).
        spread: squared distance of the points from the mean, in standard deviations: `d + kappa` of the source; 3 also
            matches a Gaussian's fourth moment along each axis.  The center's weight is `1 - d / spread`.
    Source: Julier & Uhlmann (2004), equation 12.
    Differs: the covariance of y omits the center point if its weight is negative, to stay positive semi-definite.
    """
    d, dtype = p.mean.shape[0], p.mean.dtype
    floor = jnp.finfo(dtype).eps ** (2 / 3)
    root = cholesky(p.cov + floor * jnp.eye(d, dtype=dtype))
    reach = jnp.sqrt(jnp.asarray(spread, dtype))
    center = function(p.mean)
    above, below = jax.vmap(function)(p.mean[None] + reach * root.T), jax.vmap(function)(p.mean[None] - reach * root.T)
    mean = center + jnp.sum(above + below - 2 * center[None], 0) / (2 * spread)
    slopes = (above - below) / (2 * reach)  # dy along each column of the root
    bend = (above + below) / 2 - mean[None]
    share = max(1 - d / spread, 0.0)
    cov = slopes.T @ slopes + bend.T @ bend / spread + share * jnp.outer(center - mean, center - mean)
    F = jsl.solve_triangular(root, slopes, lower=True, trans=1).T
    return matched(p, mean, cov, F)


def taylor(function: Function, p: Gaussian) -> LinearGaussian:
    """Moments of the linearization at the mean, without noise given z.  Exact for affine functions."""
    F = jax.jacfwd(function)(p.mean)
    return LinearGaussian(F, function(p.mean) - F @ p.mean, jnp.zeros((F.shape[0], F.shape[0]), F.dtype))
