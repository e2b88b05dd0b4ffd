"""A distribution over the integers 0 to n - 1.

Symbols: logits [n], unnormalized log-probabilities; p_i = exp(logits_i) / sum_j exp(logits_j).  In nats.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Categorical(eqx.Module):
    """A categorical distribution, as discrete policies return it; a logit of -inf gives probability zero."""

    logits: Float[Array, "n"]

    @property
    def probs(self) -> Float[Array, "n"]:
        """The probability of each integer."""
        return jax.nn.softmax(self.logits)

    @property
    def mode(self) -> Int[Array, ""]:
        """The most probable integer; the smallest one if several are equally probable."""
        return jnp.argmax(self.logits).astype(jnp.int32)

    def sample(self, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """One sample."""
        return jr.categorical(key, self.logits).astype(jnp.int32)

    def log_prob(self, y: Int[Array, ""]) -> Float[Array, ""]:
        """The log-probability of `y`; -inf for an integer outside 0 to n - 1."""
        inside = (y >= 0) & (y < self.logits.shape[0])
        log_probs = jax.nn.log_softmax(self.logits)
        return jnp.where(inside, log_probs[jnp.where(inside, y, 0)], -jnp.inf)

    def entropy(self) -> Float[Array, ""]:
        """The entropy, in nats; integers of probability zero contribute nothing."""
        log_probs = jax.nn.log_softmax(self.logits)
        possible = jnp.isfinite(log_probs)
        return -jnp.sum(jnp.where(possible, self.probs * jnp.where(possible, log_probs, 0), 0))
