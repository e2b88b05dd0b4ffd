"""A plain multilayer perceptron.

Symbols: h_0 = x [d];  h_l = activation(h_{l-1} W_l + b_l);  the last layer is affine.  W_l [in, out].
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

Initializer = Callable[[PRNGKeyArray, tuple[int, ...]], Array]  # a weight [in, out], or a kernel [h, w, in, out]


class MLP(eqx.Module):
    """Weights of the layers."""

    weights: list[Float[Array, "_ _"]]
    biases: list[Float[Array, "_"]]
    activation: Callable = eqx.field(static=True)

    @staticmethod
    def init(
        d: int,
        e: int,
        *,
        hidden: tuple[int, ...],
        activation: Callable,
        initializer: Initializer | None = None,
        last: Initializer | None = None,
        key: PRNGKeyArray,
    ) -> "MLP":
        """A network from [d] to [e]; biases start at zero.

        Args:
            d: size of the input.
            e: size of the output.
            hidden: units of each hidden layer.
            activation: of the hidden layers.
            initializer: of the weights; by default uniform within 1 / sqrt(in), PyTorch's.
            last: of the weights of the last layer; by default as the others.
            key: random key.
        """
        initializer = initializer or uniform
        sizes = (d, *hidden, e)
        makers = [initializer] * len(hidden) + [last or initializer]
        keys = jr.split(key, len(makers))
        shapes = zip(sizes[:-1], sizes[1:], strict=True)
        weights = [make(k, shape) for make, k, shape in zip(makers, keys, shapes, strict=True)]
        return MLP(weights, [jnp.zeros(n) for n in sizes[1:]], activation)

    def __call__(self, x: Float[Array, "d"]) -> Float[Array, "e"]:
        """The output of the last layer."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = self.activation(x @ weight + bias)
        return x @ self.weights[-1] + self.biases[-1]

    def rescaled(self, scale: Float[Array, ""], shift: Float[Array, ""]) -> "MLP":
        """The network whose output is `scale` times this one's, plus `shift`."""
        weights, biases = [*self.weights], [*self.biases]
        weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale + shift
        return MLP(weights, biases, self.activation)


def uniform(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Uniform within 1 / sqrt(inputs): the default of PyTorch's linear and convolutional layers."""
    limit = 1 / math.sqrt(math.prod(shape[:-1]))
    return jr.uniform(key, shape, minval=-limit, maxval=limit)


def glorot(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Uniform within sqrt(6 / (inputs + outputs)), the default of TensorFlow's dense layers.

    Source: Glorot & Bengio (2010), equation 16.
    """
    return jax.nn.initializers.glorot_uniform()(key, shape)


def orthogonal(gain: float) -> Initializer:
    """Orthogonal weights, times `gain`.

    Source: Saxe et al. (2014); for policies and values: Andrychowicz et al. (2021), section 3.2.
    """
    return jax.nn.initializers.orthogonal(gain)
