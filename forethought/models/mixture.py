"""Mixtures of Gaussians: a density, its conditional as a global model p(y | z), and a prior of local fits.

Symbols: p = [z; y] [D], D = d + e; components k < K with weight w_k, mean m_k and covariance C_k in blocks zz, yz, yy
    p(p)     = sum_k w_k N(p | m_k, C_k)
    p(y | z) = sum_k v_k(z) N(y | F_k z + f_k, cov_k)
    v_k(z) proportional to w_k N(z | m_k,z, C_k,zz),  F_k = C_k,yz C_k,zz^-1,  cov_k = C_k,yy - F_k C_k,yz'
    W_k      `whiten`: lower triangular, W_k C_k W_k' = I
Factorizations are computed once, in float64 on the host, so that evaluations in float32 keep their digits.  Components
are padded to a power of two with components of weight 0, so that functions that use them are rarely recompiled.
Source: Bishop (2006), sections 2.3.1 and 9.2; Levine & Abbeel (2014), "Learning neural network policies with guided
policy search under unknown dynamics", section 3 (the prior of local fits).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import jax.scipy.linalg as jsl
import numpy as np
import scipy.linalg
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Gaussian
from forethought.core.gaussian import LOG_2PI
from forethought.models.linear_gaussian import NormalInverseWishart


class Components(NamedTuple):
    """The parameters of a mixture, in float64 on the host."""

    weights: Float[np.ndarray, "K"]
    means: Float[np.ndarray, "K D"]
    covs: Float[np.ndarray, "K D D"]

    @property
    def size(self) -> int:
        """K."""
        return len(self.weights)

    def padded(self) -> "Components":
        """With components of weight 0, up to a power of two."""
        K, D = self.means.shape
        more = (1 << (K - 1).bit_length()) - K
        covs = np.concatenate([self.covs, np.repeat(np.eye(D)[None], more, axis=0)])
        return Components(np.pad(self.weights, (0, more)), np.pad(self.means, ((0, more), (0, 0))), covs)


class GaussianMixture(eqx.Module):
    """A mixture of K Gaussians over [D]: a `Distribution`; `of` builds it from weights, means and covariances.

    With leading axes [*B] it is a batch of mixtures; `mean` and `std` accept it.
    """

    weights: Float[Array, "*B K"]
    means: Float[Array, "*B K D"]
    covs: Float[Array, "*B K D D"]
    whiten: Float[Array, "*B K D D"]

    @staticmethod
    def of(components: Components, dtype: DTypeLike | None = None) -> "GaussianMixture":
        """The mixture with these parameters, in `dtype` or in theirs; without JAX's x64 mode, in float32."""
        w, means, covs = (np.asarray(a, np.float64) for a in components)
        arrays = (w, means, covs, _whitening(covs))
        own = jax.dtypes.canonicalize_dtype(components.means.dtype if dtype is None else dtype)
        return GaussianMixture(*(jnp.asarray(a, own) for a in arrays))

    @property
    def components(self) -> Components:
        """The parameters without padding, on the host."""
        used = np.asarray(self.weights) > 0
        return Components(*(np.asarray(a, np.float64)[used] for a in (self.weights, self.means, self.covs)))

    @property
    def mean(self) -> Float[Array, "*B D"]:
        """The mean of the mixture."""
        return jnp.einsum("...k,...kd->...d", self.weights, self.means)

    @property
    def cov(self) -> Float[Array, "D D"]:
        """The covariance of the mixture: within the components, and between their means."""
        deviations = self.means - self.mean[None]
        return jnp.einsum("k,kij->ij", self.weights, self.covs) + (self.weights[:, None] * deviations).T @ deviations

    @property
    def std(self) -> Float[Array, "*B D"]:
        """Marginal standard deviations."""
        deviations = self.means - self.mean[..., None, :]
        variances = jnp.diagonal(self.covs, axis1=-2, axis2=-1) + deviations**2
        return jnp.sqrt(jnp.einsum("...k,...kd->...d", self.weights, variances))

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "D"]:
        """One sample."""
        component_key, noise_key = jr.split(key)
        k = jr.categorical(component_key, jnp.log(self.weights))
        noise = jr.normal(noise_key, self.means.shape[1:], self.means.dtype)
        return self.means[k] + jsl.solve_triangular(self.whiten[k], noise, lower=True)

    def log_prob(self, p: Float[Array, "D"]) -> Float[Array, ""]:
        """Log-density at `p`."""
        return jax.nn.logsumexp(self._log_joint(p))

    def responsibilities(self, p: Float[Array, "D"]) -> Float[Array, "K"]:
        """The probability of each component given `p`."""
        return jax.nn.softmax(self._log_joint(p))

    def _log_joint(self, p: Float[Array, "D"]) -> Float[Array, "K"]:
        white = jnp.einsum("kij,kj->ki", self.whiten, p[None] - self.means)
        log_det = jnp.sum(jnp.log(jnp.diagonal(self.whiten, axis1=1, axis2=2)), axis=1)
        return jnp.log(self.weights) + log_det - 0.5 * jnp.sum(white**2, axis=1) - 0.5 * p.shape[0] * LOG_2PI

    def prior(
        self, points: Float[Array, "N D"], *, strength: float = 1.0, mean_strength: float | None = None
    ) -> NormalInverseWishart:
        """The prior of a local fit near `points`; for a trajectory, `vmap` over the steps of points [N, T, D].

        The components are weighted by their average responsibilities for the points; the prior expects mean and
        covariance of this mixture, and counts as `strength` points (`NormalInverseWishart.around`).
        Source: Levine & Abbeel (2014), section 3, with n0 = m = 1.
        """
        near = eqx.tree_at(lambda m: m.weights, self, jnp.mean(jax.vmap(self.responsibilities)(points), axis=0))
        return NormalInverseWishart.around(Gaussian(near.mean, near.cov), strength, mean_strength=mean_strength)

    def conditional(self, d: int) -> "FittedGMM":
        """The last coordinates given the first `d`; on the host."""
        return FittedGMM.of(self.components, d, dtype=self.means.dtype)


class FittedGMM(eqx.Module):
    """`p(y | z)` from a mixture over [z; y]; a `Conditional`.  Inputs enter relative to `center`."""

    mixture: GaussianMixture  # over [z; y]
    center: Float[Array, "d"]
    log_weights: Float[Array, "K"]  # log w_k + log |W_k| of the inputs
    whiten: Float[Array, "K d d"]  # of the inputs
    shift: Float[Array, "K d"]  # whitened means of the inputs
    F: Float[Array, "K e d"]
    f: Float[Array, "K e"]
    noise: Float[Array, "K e e"]
    whiten_noise: Float[Array, "K e e"]
    rows: Int[Array, ""]  # number of rows that it was fitted to; 0: not fitted

    @staticmethod
    def of(components: Components, d: int, *, rows: int = 0, dtype: DTypeLike) -> "FittedGMM":
        """The last coordinates given the first `d`, of a mixture that was fitted to `rows` rows."""
        given = components.padded()
        weights, means, covs = given
        center, inputs = weights @ means[:, :d], covs[:, :d, :d]
        relative, whiten = means[:, :d] - center, _whitening(inputs)
        F = np.swapaxes(np.linalg.solve(inputs, covs[:, :d, d:]), 1, 2)
        noise = covs[:, d:, d:] - F @ covs[:, :d, d:]
        noise = 0.5 * (noise + np.swapaxes(noise, 1, 2))
        with np.errstate(divide="ignore"):  # weight 0 of padding
            log_weights = np.log(weights) + np.sum(np.log(np.diagonal(whiten, axis1=1, axis2=2)), axis=1)
        shift, f = (np.einsum("kij,kj->ki", a, relative) for a in (whiten, F))
        arrays = (center, log_weights, whiten, shift, F, means[:, d:] - f, noise, _whitening(noise))
        mixture, count = GaussianMixture.of(given, dtype), jnp.asarray(rows, jnp.int32)
        fields: list[Any] = [mixture, *(jnp.asarray(a, dtype) for a in arrays), count]
        return FittedGMM(*fields)

    def __call__(self, z: Float[Array, "d"]) -> GaussianMixture:
        """The predictive distribution of y [e], noise included."""
        K, e, d = self.F.shape
        means = (self.F.reshape(K * e, d) @ (z - self.center)).reshape(K, e) + self.f
        return GaussianMixture(self._weights(z), means, self.noise, self.whiten_noise)

    def draw(self, *, key: PRNGKeyArray) -> "FittedGMM":
        """The same mixture: its parameters have no posterior."""
        del key
        return self

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["FittedGMM", int]:
        """One function, shared by `count` draws."""
        del key
        return jax.tree.map(lambda a: a[None], self), count

    def _weights(self, z: Float[Array, "d"]) -> Float[Array, "K"]:
        """`v_k(z)`; products of one matrix and one vector, which are faster under `vmap` than K of them."""
        (K, d), relative = self.shift.shape, z - self.center
        white = (self.whiten.reshape(K * d, d) @ relative).reshape(K, d) - self.shift
        return jax.nn.softmax(self.log_weights - 0.5 * jnp.sum(white**2, axis=1))


def _whitening(covs: Float[np.ndarray, "K D D"]) -> Float[np.ndarray, "K D D"]:
    eye = np.eye(covs.shape[1])
    return np.stack([scipy.linalg.solve_triangular(root, eye, lower=True) for root in np.linalg.cholesky(covs)])
