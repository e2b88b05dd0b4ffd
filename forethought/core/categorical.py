"""A distribution over the integers 0 to n - 1.

Symbols: logits [n], unnormalized log-probabilities; p_i = exp(logits_i) / sum_j exp(logits_j).  In nats.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Categorical(eqx.Module):
    """Integers 0 to n - 1; a logit of -inf excludes one.  What policies over discrete actions and classifiers give."""

    logits: Float[Array, "n"]

    @property
    def probs(self) -> Float[Array, "n"]:
        """The probability of each integer."""
        return jax.nn.softmax(self.logits)

    @property
    def mode(self) -> Int[Array, ""]:
        """The most probable integer, the first of those that are."""
        return jnp.argmax(self.logits).astype(jnp.int32)

    def sample(self, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """One integer."""
        return jr.categorical(key, self.logits).astype(jnp.int32)

    def log_prob(self, y: Int[Array, ""]) -> Float[Array, ""]:
        """The log-probability of `y`; -inf for an integer outside 0 to n - 1."""
        inside = (y >= 0) & (y < self.logits.shape[0])
        log_probs = jax.nn.log_softmax(self.logits)
        return jnp.where(inside, log_probs[jnp.where(inside, y, 0)], -jnp.inf)

    def entropy(self) -> Float[Array, ""]:
        """The entropy; integers of probability zero add nothing."""
        log_probs = jax.nn.log_softmax(self.logits)
        possible = jnp.isfinite(log_probs)
        return -jnp.sum(jnp.where(possible, self.probs * jnp.where(possible, log_probs, 0), 0))
