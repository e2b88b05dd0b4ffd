"""Gaussians through functions: exact moments where they are known, sigma points and Taylor expansions elsewhere.

Symbols: z ~ N(mean, cov) in, [d]; y = f(z) out, [e].
Every rule returns the affine conditional `y | z ~ N(F z + f, cov)` with `F = E[dy/dz]`.  By Stein's lemma
`Cov(z, y) = cov(z) F'`, so pushing `z` through it reproduces the matched mean and covariance of y and the covariance of
both; `F` is well defined where `cov(z)` is singular, and no inverse is formed.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float

from forethought.core.gaussian import Gaussian, LinearGaussian
from forethought.core.linalg import cholesky, symmetrise

Function = Callable[[Float[Array, "d"]], Float[Array, "e"]]


def matched(p: Gaussian, mean: Float[Array, "e"], cov: Float[Array, "e e"], F: Float[Array, "e d"]) -> LinearGaussian:
    """The conditional of y that has the moments given: `mean` and `cov` of y, and `F = E[dy/dz]`."""
    return LinearGaussian(F, mean - F @ p.mean, symmetrise(cov - F @ p.cov @ F.T))


def sines_and_cosines(p: Gaussian) -> LinearGaussian:
    """`y = [sin z; cos z]` [2d], exact.

    Source: E exp(i w'z) = exp(i w'mean - 0.5 w'cov w), with w = e_i, e_i - e_j and e_i + e_j.
    """
    mean, cov = p.mean, p.cov
    variance = jnp.diagonal(cov)
    shrink = jnp.exp(-variance / 2)
    sin, cos = shrink * jnp.sin(mean), shrink * jnp.cos(mean)
    both = (variance[:, None] + variance[None, :]) / 2
    # exp(cov - both) - exp(-both) without the cancellation that eats small covariances
    apart, joined = (jnp.exp(-both) * jnp.expm1(sign * cov) for sign in (1, -1))
    difference, total = mean[:, None] - mean[None, :], mean[:, None] + mean[None, :]
    sin_sin = apart * jnp.cos(difference) - joined * jnp.cos(total)
    cos_cos = apart * jnp.cos(difference) + joined * jnp.cos(total)
    sin_cos = apart * jnp.sin(difference) + joined * jnp.sin(total)
    cov_y = 0.5 * jnp.block([[sin_sin, sin_cos], [sin_cos.T, cos_cos]])
    F = jnp.concatenate([jnp.diag(cos), jnp.diag(-sin)])
    return matched(p, jnp.concatenate([sin, cos]), cov_y, F)


def squashed(p: Gaussian, limit: Float[Array, "d"]) -> LinearGaussian:
    """`y = limit (9 sin z + sin 3z) / 8`, exact: within the limit, and flat where it touches it.

    Source: Deisenroth, Fox & Rasmussen (2015), section on the squashing function; `gSat` of the released code.
    """
    d = p.mean.shape[0]
    thrice = LinearGaussian(jnp.concatenate([jnp.eye(d), 3 * jnp.eye(d)]).astype(p.mean.dtype), *_nothing(2 * d, p))
    angles = Gaussian(thrice.F @ p.mean, thrice.F @ p.cov @ thrice.F.T)
    waves = sines_and_cosines(angles)
    blend = jnp.concatenate([9 * jnp.diag(limit), jnp.diag(limit)], axis=1) / 8
    sines = LinearGaussian(waves.F[: 2 * d], waves.f[: 2 * d], waves.cov[: 2 * d, : 2 * d])
    return thrice.then(sines).then(LinearGaussian(blend, *_nothing(d, p)))


def squash(z: Float[Array, "d"], limit: Float[Array, "d"]) -> Float[Array, "d"]:
    """The function that `squashed` pushes Gaussians through."""
    return limit * (9 * jnp.sin(z) + jnp.sin(3 * z)) / 8


def saturating_moments(p: Gaussian, *, width: Float[Array, ""] | float) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean and variance of `1 - exp(-|z|^2 / (2 width^2))`, exact.

    Source: Deisenroth & Rasmussen (2011), section 2.3; `lossSat` of the released code.
    """
    kept = _expected_bump(p, width)
    return 1 - kept, jnp.maximum(_expected_bump(p, width / jnp.sqrt(2.0)) - kept**2, 0)


def _expected_bump(p: Gaussian, width: Float[Array, ""] | float) -> Float[Array, ""]:
    """`E exp(-|z|^2 / (2 width^2))`."""
    scaled = jnp.eye(p.mean.shape[0], dtype=p.mean.dtype) + p.cov / width**2
    distance = p.mean @ jnp.linalg.solve(scaled, p.mean) / width**2
    return jnp.exp(-distance / 2) / jnp.sqrt(jnp.linalg.det(scaled))


def unscented(function: Function, p: Gaussian, *, spread: float = 3.0) -> LinearGaussian:
    """Moments by 2d + 1 sigma points; exact for affine functions, and the mean for cubic ones along each axis.

    Args:
        function: y [e] of z [d].
        p: distribution of z; `cov` may be singular (a floor of `eps^(2/3)` is added: F is then a finite difference).
        spread: squared distance of the points from the mean, in standard deviations: `d + kappa` of the source; 3 also
            matches a Gaussian's fourth moment along each axis.  The centre's weight is `1 - d / spread`.
    Source: Julier & Uhlmann (2004), equation 12.
    Differs: the covariance of y leaves the centre out where its weight would be negative, to stay semi-definite.
    """
    d, dtype = p.mean.shape[0], p.mean.dtype
    floor = jnp.finfo(dtype).eps ** (2 / 3)
    root = cholesky(p.cov + floor * jnp.eye(d, dtype=dtype))
    reach = jnp.sqrt(jnp.asarray(spread, dtype))
    centre = function(p.mean)
    above, below = jax.vmap(function)(p.mean + reach * root.T), jax.vmap(function)(p.mean - reach * root.T)
    mean = centre + jnp.sum(above + below - 2 * centre, 0) / (2 * spread)
    slopes = (above - below) / (2 * reach)  # dy along each column of the root
    bend = (above + below) / 2 - mean
    share = max(1 - d / spread, 0.0)
    cov = slopes.T @ slopes + bend.T @ bend / spread + share * jnp.outer(centre - mean, centre - mean)
    F = jsl.solve_triangular(root, slopes, lower=True, trans=1).T
    return matched(p, mean, cov, F)


def taylor(function: Function, p: Gaussian) -> LinearGaussian:
    """Moments of the tangent at the mean: certain given z.  Exact for affine functions."""
    F = jax.jacfwd(function)(p.mean)
    return LinearGaussian(F, function(p.mean) - F @ p.mean, jnp.zeros((F.shape[0], F.shape[0]), F.dtype))


def _nothing(e: int, p: Gaussian) -> tuple[Float[Array, "e"], Float[Array, "e e"]]:
    """No offset and no noise."""
    return jnp.zeros(e, p.mean.dtype), jnp.zeros((e, e), p.mean.dtype)
