"""Gaussians, affine-Gaussian conditionals, quadratics, and their algebra.

Symbols
    z ~ N(mean, cov)                 mean [d], cov [d, d], positive semi-definite; cov = 0 is a point
    y | z ~ N(F z + f, cov)          F [e, d], f [e], cov [e, e] of the noise
    q(z) = 0.5 z'C z + c'z + const   C [d, d] symmetric, c [d], const []

All functions are unbatched; use `jax.vmap` for batches.  The dtype follows the input.  Entropies, divergences and
log-densities are in nats.
Source: Bishop, Pattern Recognition and Machine Learning (2006), section 2.3, equations 2.81-2.82 and 2.113-2.117.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core.linalg import cholesky, psd_sqrt, solve_psd, symmetrize

LOG_2PI = 1.8378770664093453


class Gaussian(eqx.Module):
    """A Gaussian over [n]; `cov` may be singular.  With a leading axis [T] it is a batch of T Gaussians."""

    mean: Float[Array, "*T n"]
    cov: Float[Array, "*T n n"]

    @staticmethod
    def point(x: Float[Array, "n"]) -> "Gaussian":
        """The distribution with all its probability at `x`."""
        return Gaussian(x, jnp.zeros((x.shape[0], x.shape[0]), x.dtype))

    @property
    def std(self) -> Float[Array, "n"]:
        """Marginal standard deviations."""
        return jnp.sqrt(jnp.maximum(jnp.diagonal(self.cov), 0))

    @property
    def mode(self) -> Float[Array, "n"]:
        """The point of the highest density: the mean."""
        return self.mean

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """One sample; exact for singular covariances too."""
        noise = jr.normal(key, self.mean.shape, self.mean.dtype)
        return self.mean + psd_sqrt(self.cov) @ noise

    def log_prob(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Log-density at `x`; NaN if `cov` is singular, since there is no density then."""
        root = cholesky(self.cov)
        white = jsl.solve_triangular(root, x - self.mean, lower=True)
        return -0.5 * white @ white - jnp.sum(jnp.log(jnp.diagonal(root))) - 0.5 * x.shape[0] * LOG_2PI

    def entropy(self) -> Float[Array, ""]:
        """Differential entropy."""
        n = self.mean.shape[0]
        return jnp.sum(jnp.log(jnp.diagonal(cholesky(self.cov)))) + 0.5 * n * (1 + LOG_2PI)


class DiagonalGaussian(eqx.Module):
    """A Gaussian with independent coordinates, `std` [n] >= 0: the output of networks; no [n, n] matrix is stored."""

    mean: Float[Array, "n"]
    std: Float[Array, "n"]

    @property
    def cov(self) -> Float[Array, "n n"]:
        """The covariance matrix."""
        return jnp.diag(self.std**2)

    @property
    def mode(self) -> Float[Array, "n"]:
        """The point of the highest density: the mean."""
        return self.mean

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """One sample."""
        return self.mean + self.std * jr.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Log-density at `x`."""
        white = (x - self.mean) / self.std
        return jnp.sum(-0.5 * white**2 - jnp.log(self.std) - 0.5 * LOG_2PI)

    def entropy(self) -> Float[Array, ""]:
        """Differential entropy."""
        return jnp.sum(jnp.log(self.std) + 0.5 * (1 + LOG_2PI))


class Delta(eqx.Module):
    """All probability at one point: the prediction of a system without noise.

    There is no density; `log_prob` is the logarithm of the probability of a value.
    """

    mean: Float[Array, "n"]

    @property
    def cov(self) -> Float[Array, "n n"]:
        """Zeros."""
        return jnp.zeros((self.mean.shape[0], self.mean.shape[0]), self.mean.dtype)

    @property
    def std(self) -> Float[Array, "n"]:
        """Zeros."""
        return jnp.zeros_like(self.mean)

    @property
    def mode(self) -> Float[Array, "n"]:
        """The point itself."""
        return self.mean

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The point itself."""
        del key
        return self.mean

    def log_prob(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """0 if `y` is the point, else -inf; gradients are zero."""
        return jnp.where(jnp.all(x == self.mean), 0.0, -jnp.inf).astype(self.mean.dtype)


class LinearGaussian(eqx.Module):
    """The conditional `y | z ~ N(F z + f, cov)`.

    Used for iLQR's Taylor expansions, fitted local models, exact moment matching and linear-Gaussian controllers.
    With a leading axis [T] it is time-varying.
    """

    F: Float[Array, "*T e d"]
    f: Float[Array, "*T e"]
    cov: Float[Array, "*T e e"]

    def __call__(self, z: Float[Array, "d"]) -> Gaussian:
        """The distribution of `y` given `z`."""
        return Gaussian(self.F @ z + self.f, self.cov)

    def draw(self, *, key: PRNGKeyArray) -> "LinearGaussian":
        """The same conditional: its function is certain, only its noise is random."""
        del key
        return self

    def then(self, after: "LinearGaussian") -> "LinearGaussian":
        """The conditional of `w` given `z`, where `w | y` is `after`."""
        return LinearGaussian(
            after.F @ self.F,
            after.F @ self.f + after.f,
            symmetrize(after.F @ self.cov @ after.F.T + after.cov),
        )


class Quadratic(eqx.Module):
    """`q(z) = 0.5 z'C z + c'z + const`; with a leading axis [T] it is time-varying."""

    C: Float[Array, "*T d d"]
    c: Float[Array, "*T d"]
    const: Float[Array, "*T"]

    def __call__(self, z: Float[Array, "d"]) -> Float[Array, ""]:
        """The value at `z`."""
        return 0.5 * z @ self.C @ z + self.c @ z + self.const

    def expectation(self, p: Gaussian) -> Float[Array, ""]:
        """`E q(z)` for `z ~ p`, exact."""
        return self(p.mean) + 0.5 * jnp.sum(self.C * p.cov)


def push_forward(p: Gaussian, conditional: LinearGaussian) -> Gaussian:
    """The marginal of `y` when `z ~ p`.  Source: Bishop (2006), equation 2.115."""
    F = conditional.F
    return Gaussian(F @ p.mean + conditional.f, symmetrize(F @ p.cov @ F.T + conditional.cov))


def join(p: Gaussian, conditional: LinearGaussian) -> Gaussian:
    """The joint over `[z; y]` [d + e] when `z ~ p`.  Source: Bishop (2006), equations 2.105 and 2.108."""
    y = push_forward(p, conditional)
    cross = p.cov @ conditional.F.T
    cov = jnp.block([[p.cov, cross], [cross.T, y.cov]])
    return Gaussian(jnp.concatenate([p.mean, y.mean]), cov)


def condition(joint: Gaussian, d: int, *, jitter: float = 0.0) -> LinearGaussian:
    """The conditional of the last coordinates given the first `d`.

    Args:
        joint: over `[z; y]`, with `z` [d].
        d: how many leading coordinates are conditioned on.
        jitter: added to `cov(z)`, relative to its mean diagonal; needed where `cov(z)` is singular.
    Source: Bishop (2006), equations 2.81 and 2.82.
    """
    cov_z, cross, cov_y = joint.cov[:d, :d], joint.cov[:d, d:], joint.cov[d:, d:]
    F = solve_psd(cov_z, cross, jitter=jitter).T
    return LinearGaussian(F, joint.mean[d:] - F @ joint.mean[:d], symmetrize(cov_y - F @ cross))


def kl(p: Gaussian, q: Gaussian) -> Float[Array, ""]:
    """`KL(p || q)`, in nats; both covariances positive definite."""
    root_p, root_q = cholesky(p.cov), cholesky(q.cov)
    white_cov = jsl.solve_triangular(root_q, root_p, lower=True)
    white_mean = jsl.solve_triangular(root_q, q.mean - p.mean, lower=True)
    log_det = jnp.sum(jnp.log(jnp.diagonal(root_q))) - jnp.sum(jnp.log(jnp.diagonal(root_p)))
    return log_det + 0.5 * (jnp.sum(white_cov**2) + white_mean @ white_mean - p.mean.shape[0])


def expected_kl(p: LinearGaussian, q: LinearGaussian, z: Gaussian) -> Float[Array, ""]:
    """`E_z KL(p(y|z) || q(y|z))`, in nats, in closed form; a trust region on controllers limits this quantity."""
    difference = LinearGaussian(p.F - q.F, p.f - q.f, p.cov)
    gap, root_p, root_q = push_forward(z, difference), cholesky(p.cov), cholesky(q.cov)
    white = jsl.solve_triangular(root_q, jnp.concatenate([gap.cov, gap.mean[:, None]], axis=1), lower=True)
    squares = jnp.trace(jsl.solve_triangular(root_q, white[:, :-1].T, lower=True)) + jnp.sum(white[:, -1] ** 2)
    log_det = jnp.sum(jnp.log(jnp.diagonal(root_q))) - jnp.sum(jnp.log(jnp.diagonal(root_p)))
    return log_det + 0.5 * (squares - p.f.shape[0])
