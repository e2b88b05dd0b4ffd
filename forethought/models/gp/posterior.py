"""The fitted Gaussian process: its predictions, its joint posterior, and functions sampled from it.

Each of the e outputs has its own process; all have the same M centers z_m [d] (rows of data, or inducing inputs):
    k(z, z') = signal^2 rho(z, z'),   rho = exp(-1/2 sum_j (z_j - z'_j)^2 / lengthscale_j^2)
    mean(z) = offset + k(z, Z) beta                          beta [M]
    var(z)  = signal^2 - k(z, Z) reduction k(Z, z)           reduction = root' root [M, M]
plus noise^2 for an observation.  In exact conditioning, reduction = (K + noise^2 I)^-1; inducing inputs change it.
`unexplained` [M], in [0, 1]: ratio of posterior to prior standard deviation along row i of `root`.  Sampling uses it:
R - R K R = root' diag(unexplained)^2 root, with R = reduction.
Padding centers have zeros in beta, reduction and root.  Signal and noise are standard deviations, in units of y.
Source: Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, equations 2.22-2.26.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian, Gaussian, LinearGaussian
from forethought.models.kernel_moments import kernel_moments


def correlation(
    z: Float[Array, "d"], centers: Float[Array, "M d"], lengthscale: Float[Array, "e d"]
) -> Float[Array, "e M"]:
    """`rho(z, z_m)` for each output: the kernel without its signal variance."""
    inverse = 1 / lengthscale
    # One input coordinate at a time: XLA compiles this to a vectorized loop over M, ten times faster on CPU than a sum
    # over an axis.  Differences come before the division: in float32, large inputs would lose digits otherwise.
    squared = sum(((z[j] - centers[:, j])[None] * inverse[:, j, None]) ** 2 for j in range(z.shape[0]))
    return jnp.exp(-0.5 * squared)


class FittedGP(eqx.Module):
    """Independent Gaussian processes, one for each output, with common centers."""

    z: Float[Array, "M d"]
    lengthscale: Float[Array, "e d"]
    signal: Float[Array, "e"]
    noise: Float[Array, "e"]
    offset: Float[Array, "e"]
    beta: Float[Array, "e M"]
    reduction: Float[Array, "e M M"]
    root: Float[Array, "e M M"]
    unexplained: Float[Array, "e M"]
    rows: Int[Array, ""]  # number of rows that it was fitted to; 0: the prior
    features: int = eqx.field(static=True, default=128)  # random Fourier features in a sampled function

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The predictive distribution of an observation, noise included."""
        rho = correlation(z, self.z, self.lengthscale)
        # In units of the signal, so that outputs of any scale are within the range of float32.  The variance is
        # 1 - |w|^2, not 1 - rho'R rho, whose rounding errors in float32 are as large as the variance.
        mean = self.offset + self.signal * jnp.einsum("em,em->e", rho, self.signal[:, None] * self.beta)
        w = jnp.einsum("ekm,em->ek", self.signal[:, None, None] * self.root, rho)
        unknown = jnp.maximum(1 - jnp.sum(w**2, axis=-1), 0)
        return DiagonalGaussian(mean, self.signal * jnp.sqrt(unknown + (self.noise / self.signal) ** 2))

    def joint(self, zs: Float[Array, "B d"]) -> Gaussian:
        """Joint posterior of function values at several inputs, without noise: per output, a Gaussian over [B]."""

        def one(lengthscale, signal, offset, beta, root) -> Gaussian:
            rho = jax.vmap(lambda z: correlation(z, self.z, lengthscale[None])[0])(zs)
            prior = jax.vmap(lambda z: correlation(z, zs, lengthscale[None])[0])(zs)
            w = rho @ (signal * root).T
            return Gaussian(offset + signal * (rho @ (signal * beta)), signal**2 * (prior - w @ w.T))

        return jax.vmap(one)(self.lengthscale, self.signal, self.offset, self.beta, self.root)

    def moments(self, p: Gaussian, *, noise: bool = True) -> LinearGaussian:
        """Exact moments of the function's value at an input `z ~ p`; with `noise`, of an observation.

        Differentiable with respect to `p` only.
        """
        y = kernel_moments(p, self.z, self.lengthscale, self.signal, self.offset, self.beta, self.reduction)
        return LinearGaussian(y.F, y.f, y.cov + jnp.diag(self.noise**2)) if noise else y

    def draw(self, *, key: PRNGKeyArray) -> "SampledGP":
        """A function sampled from the posterior: a prior sample of random Fourier features, corrected at the centers.

        Mean and covariance over many draws are exact.  With few `features`, the values of a sampled function far from
        the data are only approximately Gaussian.
        Source: Wilson et al. (2020), Efficiently sampling functions from Gaussian process posteriors, equation 13.
        """
        (e, d), F, dtype = self.lengthscale.shape, self.features, self.lengthscale.dtype
        # One array with all random numbers: each further shape takes nearly a second of compilation.
        numbers = jr.normal(key, (e, F * (d + 2) + self.z.shape[0]), dtype)
        frequencies, weights, noise = jnp.split(numbers, [F * d, F * (d + 2)], axis=1)
        frequencies = frequencies.reshape(e, F, d) / (2 * math.pi * self.lengthscale[:, None])
        weights = weights.reshape(e, 2, F) / math.sqrt(F)
        prior = jax.vmap(lambda z: _waves(z, frequencies, weights), out_axes=1)(self.z)
        scaled = self.signal[:, None, None] * self.root
        surprise = jnp.einsum("ekm,em->ek", scaled, prior) - self.unexplained * noise
        update = self.signal[:, None] * self.beta - jnp.einsum("ekm,ek->em", scaled, surprise)
        return SampledGP(self.z, self.lengthscale, self.signal, self.noise, self.offset, update, frequencies, weights)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["SampledGP", int]:
        """`count` independent functions, stacked."""
        return eqx.filter_vmap(lambda k: self.draw(key=k))(jr.split(key, count)), 1

    def astype(self, dtype: DTypeLike) -> "FittedGP":
        """The same model in another precision; float64 needs JAX's 64-bit mode."""
        return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, self)


class SampledGP(eqx.Module):
    """A function sampled from the posterior; its only uncertainty is the noise of observations."""

    z: Float[Array, "M d"]
    lengthscale: Float[Array, "e d"]
    signal: Float[Array, "e"]
    noise: Float[Array, "e"]
    offset: Float[Array, "e"]
    update: Float[Array, "e M"]  # weights of rho(z, Z), relative to the signal
    frequencies: Float[Array, "e F d"]  # in cycles per unit of z
    weights: Float[Array, "e 2 F"]  # weights of cosines and sines, relative to the signal

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The distribution of an observation: the function's value plus noise."""
        rho = correlation(z, self.z, self.lengthscale)
        value = _waves(z, self.frequencies, self.weights) + jnp.einsum("em,em->e", rho, self.update)
        return DiagonalGaussian(self.offset + self.signal * value, self.noise)

    def draw(self, *, key: PRNGKeyArray) -> "SampledGP":
        """The same function: nothing is left to sample."""
        del key
        return self


def _waves(
    z: Float[Array, "d"], frequencies: Float[Array, "e F d"], weights: Float[Array, "e 2 F"]
) -> Float[Array, "e"]:
    turns = jnp.einsum("efd,d->ef", frequencies, z)
    x = turns - jnp.round(turns)
    cosine, sine = _polynomial(_COS, x**2), x * _polynomial(_SIN, x**2)
    return jnp.sum(weights[:, 0] * cosine + weights[:, 1] * sine, axis=-1)


# cos(2 pi x) and sin(2 pi x) / x as polynomials of x^2 on [0, 1/4], to 2e-10: five times faster on a CPU than XLA's
# own, which must accept arguments of any size.
_COS, _SIN = (
    np.polynomial.Chebyshev.interpolate(f, 7, domain=[0, 0.25]).convert(kind=np.polynomial.Polynomial).coef
    for f in (lambda s: np.cos(2 * np.pi * np.sqrt(s)), lambda s: 2 * np.pi * np.sinc(2 * np.sqrt(s)))
)


def _polynomial(coefficients: np.ndarray, x: Float[Array, "e F"]) -> Float[Array, "e F"]:
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + float(coefficient)
    return total
