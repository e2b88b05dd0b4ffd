"""A multilayer perceptron whose output is a diagonal Gaussian, and its negative log-likelihood.

Symbols: z [d] standardized inputs, y [e] standardized outputs; W_l [in, out] and b_l [out] the layers.  The last layer
has 2 e outputs, the mean and the log-variance of y.  Log-variances are softly bounded by learned limits, so that they
stay plausible far from the data.
Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials", section 4 and appendix A.1.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

INITIAL_LIMITS = (-10.0, 0.5)  # of the log-variance, as in the authors' code


class GaussianMLP(eqx.Module):
    """Weights of the layers, and the limits of the log-variance: everything that gradient descent changes."""

    weights: list[Float[Array, "_ _"]]
    biases: list[Float[Array, "_"]]
    min_log_var: Float[Array, "e"]
    max_log_var: Float[Array, "e"]

    @staticmethod
    def init(d: int, e: int, *, hidden: tuple[int, ...], key: PRNGKeyArray) -> "GaussianMLP":
        """Truncated normal weights of std 1 / (2 sqrt(in)), as in the authors' code."""
        sizes = (d, *hidden, 2 * e)
        shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
        # One draw for all layers: each further shape costs most of a second of compilation.
        ends = np.cumsum([i * o for i, o in shapes])
        draws = jnp.split(jr.truncated_normal(key, -2.0, 2.0, (int(ends[-1]),)), ends[:-1].tolist())
        weights = [a.reshape(i, o) / (2 * math.sqrt(i)) for a, (i, o) in zip(draws, shapes, strict=True)]
        biases = [jnp.zeros(o) for o in sizes[1:]]
        # Explicit dtypes: without them the arrays are weakly typed, and the second fit would compile again.
        low, high = (jnp.full(e, limit, biases[0].dtype) for limit in INITIAL_LIMITS)
        return GaussianMLP(weights, biases, low, high)

    def __call__(self, z: Float[Array, "d"]) -> tuple[Float[Array, "e"], Float[Array, "e"]]:
        """Mean and log-variance of the standardized output."""
        h = z
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = silu(h @ weight + bias)
        mean, log_var = jnp.split(h @ self.weights[-1] + self.biases[-1], 2)
        log_var = self.max_log_var - jax.nn.softplus(self.max_log_var - log_var)
        log_var = self.min_log_var + jax.nn.softplus(log_var - self.min_log_var)
        return mean, log_var

    def squared_weights(self) -> Float[Array, ""]:
        """Half the sum of the squared weights, without biases."""
        return 0.5 * sum((jnp.sum(w**2) for w in self.weights), start=jnp.zeros(()))

    def limits_gap(self) -> Float[Array, ""]:
        """The width between the limits of the log-variance, averaged over the outputs."""
        return jnp.mean(self.max_log_var - self.min_log_var)


def silu(x: Float[Array, "h"]) -> Float[Array, "h"]:
    """`x sigmoid(x)`, computed with tanh, which is faster on a CPU."""
    half = 0.5 * x
    return half + half * jnp.tanh(half)


def negative_log_likelihood(network: GaussianMLP, z: Float[Array, "d"], y: Float[Array, "e"]) -> Float[Array, ""]:
    """Of one standardized pair, in nats, without the constant; averaged over the e outputs."""
    mean, log_var = network(z)
    return 0.5 * jnp.mean((mean - y) ** 2 * jnp.exp(-log_var) + log_var)
