"""The probabilistic network: `p(y | z) = N(mean(z), diag std(z)^2)`, and its loss.

Symbols: z [d] inputs, y [e] outputs; W_l [in, out] and b_l [out] the layers; the last layer has 2 e outputs, the mean
and the log-variance of the standardized y.  Log-variances are softly bounded by learned limits, so that they stay
sane where there is no data.
Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials", section 4 and appendix A.1.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import DiagonalGaussian


class Normalizer(eqx.Module):
    """Shift and scale of each coordinate."""

    mean: Float[Array, "d"]
    std: Float[Array, "d"]

    @staticmethod
    def identity(d: int) -> "Normalizer":
        """No change."""
        return Normalizer(jnp.zeros(d), jnp.ones(d))

    @staticmethod
    def of(data: Float[Array, "N d"], weight: Float[Array, "N"], *, still: float = 1.0) -> "Normalizer":
        """Standardizes the rows with weight 1; coordinates that do not vary get the scale `still`.

        Sums run over differences from one of the rows: in float32 the mean of equal numbers is not that number, and
        what is left would pass for a spread.
        """
        count = jnp.sum(weight)
        origin = data[jnp.argmax(weight)]
        shifted = data - origin[None]
        offset = jnp.einsum("n,nd->d", weight, shifted) / count
        var = jnp.einsum("n,nd->d", weight, (shifted - offset[None]) ** 2) / count
        varies = jnp.sqrt(var) > 1e-6 * (1 + jnp.abs(origin + offset))
        return Normalizer(origin + offset, jnp.where(varies, jnp.sqrt(jnp.where(varies, var, 1.0)), still))

    def __call__(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Standardized coordinates."""
        return (z - self.mean) / self.std


class Layers(eqx.Module):
    """What is learned by gradient descent."""

    weights: list[Float[Array, "_ _"]]
    biases: list[Float[Array, "_"]]
    min_log_var: Float[Array, "e"]
    max_log_var: Float[Array, "e"]

    @staticmethod
    def init(d: int, e: int, *, hidden: tuple[int, ...], key: PRNGKeyArray) -> "Layers":
        """Truncated normal weights of std 1 / (2 sqrt(in)), as in the authors' code."""
        sizes = (d, *hidden, 2 * e)
        shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
        # One draw for all layers: each draw of its own shape costs most of a second of compilation.
        ends = np.cumsum([i * o for i, o in shapes])
        draws = jnp.split(jr.truncated_normal(key, -2.0, 2.0, (int(ends[-1]),)), ends[:-1].tolist())
        weights = [a.reshape(i, o) / (2 * math.sqrt(i)) for a, (i, o) in zip(draws, shapes, strict=True)]
        biases = [jnp.zeros(o) for o in sizes[1:]]
        # Explicit dtypes: without them the arrays are weakly typed, and the second fit would compile again.
        low, high = (jnp.full(e, bound, biases[0].dtype) for bound in (-10.0, 0.5))
        return Layers(weights, biases, low, high)

    def __call__(self, z: Float[Array, "d"]) -> tuple[Float[Array, "e"], Float[Array, "e"]]:
        """Mean and log-variance of the standardized output, from the standardized input."""
        h = z
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = silu(h @ weight + bias)
        mean, log_var = jnp.split(h @ self.weights[-1] + self.biases[-1], 2)
        log_var = self.max_log_var - jax.nn.softplus(self.max_log_var - log_var)
        log_var = self.min_log_var + jax.nn.softplus(log_var - self.min_log_var)
        return mean, log_var

    def squared_weights(self) -> Float[Array, ""]:
        """Half the sum of the squared weights, biases left out."""
        return 0.5 * sum((jnp.sum(w**2) for w in self.weights), start=jnp.zeros(()))


class Network(eqx.Module):
    """A fitted network, in the units of the data."""

    layers: Layers
    inputs: Normalizer
    outputs: Normalizer

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The predictive distribution of `y` [e]."""
        mean, log_var = self.layers(self.inputs(z))
        return DiagonalGaussian(self.outputs.mean + self.outputs.std * mean, self.outputs.std * jnp.exp(0.5 * log_var))

    def draw(self, *, key: PRNGKeyArray) -> "Network":
        """Itself: one network knows nothing of its own uncertainty about the function."""
        del key
        return self


def silu(x: Float[Array, "h"]) -> Float[Array, "h"]:
    """`x sigmoid(x)`, written with tanh: the same function, and quicker on a CPU."""
    half = 0.5 * x
    return half + half * jnp.tanh(half)


def negative_log_likelihood(layers: Layers, z: Float[Array, "d"], y: Float[Array, "e"]) -> Float[Array, ""]:
    """Of one standardized pair, in nats, without the constant; averaged over the e outputs."""
    mean, log_var = layers(z)
    return 0.5 * jnp.mean((mean - y) ** 2 * jnp.exp(-log_var) + log_var)
