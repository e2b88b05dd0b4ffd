"""Distributions over actions within limits: a Gaussian that is clipped, and one that is squashed by tanh.

Symbols: v ~ N(mean, std) [m] before the limits; u [m] the action; low, high [m] the limits, finite.
    clipped    u = clip(v, low, high).  A density between the limits, and at a limit the probability of all beyond it.
    squashed   u = center + half tanh(v),   log p(u) = log N(v) - sum log(half (1 - tanh(v)^2))
Source: clipped: Fujita & Maeda (2018), Clipped action policy gradient, equation 6.  Squashed: Haarnoja et al. (2018),
Soft actor-critic, appendix C.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Box, DiagonalGaussian

INSIDE = 1 - 1e-6  # largest |tanh v| that float32 tells from 1 and inverts well


class ClippedGaussian(eqx.Module):
    """A Gaussian whose samples are brought within the limits of a box.

    What environments record is the clipped action, so this is the likelihood of their records.
    """

    mean: Float[Array, "m"]
    std: Float[Array, "m"]
    box: Box

    @property
    def mode(self) -> Float[Array, "m"]:
        """The clipped mean: the action of the highest density before clipping."""
        return self.box.clip(self.mean)

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "m"]:
        """One action within the limits."""
        return self.box.clip(self.mean + self.std * jr.normal(key, self.mean.shape, self.mean.dtype))

    def log_prob(self, u: Float[Array, "m"]) -> Float[Array, ""]:
        """Log-density between the limits; at a limit, the log of the probability of reaching it."""
        white = (u - self.mean) / self.std
        density = -0.5 * white**2 - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)
        at_low, at_high = u <= self.box.low, u >= self.box.high
        beyond = log_ndtr(jnp.where(at_high, -white, white))
        return jnp.sum(jnp.where(at_low | at_high, beyond, density))

    def entropy(self) -> Float[Array, ""]:
        """The differential entropy before clipping, which keeps the exploration of a policy alive at the limits."""
        return DiagonalGaussian(self.mean, self.std).entropy()


class SquashedGaussian(eqx.Module):
    """`center + half tanh(v)` within the limits of a box; `mean` and `std` are those of v, without unit."""

    mean: Float[Array, "m"]
    std: Float[Array, "m"]
    box: Box

    @property
    def mode(self) -> Float[Array, "m"]:
        """The median of each coordinate, by which SAC acts in evaluation; the density may be higher near a limit."""
        return self.box.center + self.box.half_range * jnp.tanh(self.mean)

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "m"]:
        """One action within the limits."""
        return self.sample_and_log_prob(key=key)[0]

    def sample_and_log_prob(self, *, key: PRNGKeyArray) -> tuple[Float[Array, "m"], Float[Array, ""]]:
        """An action and its log-density, both differentiable in `mean` and `std` (reparameterized)."""
        noise = jr.normal(key, self.mean.shape, self.mean.dtype)
        v = self.mean + self.std * noise
        return self.box.center + self.box.half_range * jnp.tanh(v), self._log_prob(v, noise)

    def log_prob(self, u: Float[Array, "m"]) -> Float[Array, ""]:
        """Log-density at `u`; at a limit, that of the nearest action that can be told from it."""
        ratio = jnp.clip((u - self.box.center) / self.box.half_range, -INSIDE, INSIDE)
        v = jnp.arctanh(ratio)
        return self._log_prob(v, (v - self.mean) / self.std)

    def _log_prob(self, v: Float[Array, "m"], white: Float[Array, "m"]) -> Float[Array, ""]:
        density = -0.5 * white**2 - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(v)^2), exact for large |v| too: TensorFlow Probability, bijectors/tanh.py
        slope = 2 * (math.log(2) - v - jax.nn.softplus(-2 * v))
        return jnp.sum(density - slope - jnp.log(self.box.half_range))
