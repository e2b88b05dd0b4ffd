"""A convolutional network for images: convolutions, then a hidden layer, then an affine output.

Images are [height, width], [height, width, channels] or [channels, height, width]: the shorter of the first and the
last axis counts the channels.
Source: Mnih et al. (2015), methods ("large"), for images of at least 36 x 36; Young & Tian (2019), MinAtar ("small"),
for smaller ones; Mnih et al. (2013) ("medium"): a third of the operations of "large", on request.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.networks.mlp import MLP, Initializer, uniform

Convolutions = Literal["large", "medium", "small"]
SMALLEST = 36  # shorter side from which the layers of "large" have pixels left
LAYERS = {  # (side of the kernel, channels, stride) of each layer; units
    "large": (((8, 32, 4), (4, 64, 2), (3, 64, 1)), 512),
    "medium": (((8, 16, 4), (4, 32, 2)), 256),
    "small": (((3, 16, 1),), 128),
}


class Convolution(eqx.Module):
    """Kernels [side, side, in, out] of the layers, and the layers after them."""

    kernels: list[Float[Array, "_ _ _ _"]]
    biases: list[Float[Array, "_"]]
    strides: tuple[int, ...] = eqx.field(static=True)
    head: MLP

    @staticmethod
    def init(
        shape: tuple[int, ...],
        e: int | None,
        *,
        convolutions: Convolutions | None = None,
        hidden: tuple[int, ...] | None = None,
        initializer: Initializer | None = None,
        last: Initializer | None = None,
        key: PRNGKeyArray,
    ) -> "Convolution":
        """A network from images of this shape to [e].

        Args:
            shape: of an image.
            e: size of the output; by default that of the usual hidden layer.
            convolutions: which layers; by default "large" or "small", by the size of the images.
            hidden: units of the layers between convolutions and output; by default one layer of the usual size.
            initializer: of all weights but those of the output; by default uniform within 1 / sqrt(in).
            last: of the weights of the output; by default as the others.
            key: random key.
        Raises:
            ValueError: images too small for the kernels.
        """
        initializer = initializer or uniform
        height, width, channels = channels_last(shape)
        layers, units = LAYERS[convolutions or ("large" if min(height, width) >= SMALLEST else "small")]
        head_key, *keys = jr.split(key, len(layers) + 1)
        kernels, biases = [], []
        for (side, out, stride), kernel_key in zip(layers, keys, strict=True):
            if min(height, width) < side:
                raise ValueError(
                    f"images of {list(shape)} are too small for the convolutions: {height} x {width} pixels are left "
                    f"for a kernel of {side} x {side}."
                )
            kernels.append(initializer(kernel_key, (side, side, channels, out)))
            biases.append(jnp.zeros(out))
            height, width, channels = (height - side) // stride + 1, (width - side) // stride + 1, out
        head = MLP.init(
            height * width * channels,
            e or units,
            hidden=(units,) if hidden is None else hidden,
            activation=jax.nn.relu,
            initializer=initializer,
            last=last,
            key=head_key,
        )
        return Convolution(kernels, biases, tuple(stride for _, _, stride in layers), head)

    def __call__(self, image: Float[Array, "*hwc"]) -> Float[Array, "e"]:
        """The output for one image."""
        h = to_channels_last(image)
        for kernel, bias, stride in zip(self.kernels, self.biases, self.strides, strict=True):
            h = jax.nn.relu(convolved(h, kernel, stride) + bias[None, None])
        return self.head(h.reshape(-1))

    def rescaled(self, scale: Float[Array, ""], shift: Float[Array, ""]) -> "Convolution":
        """The network whose output is `scale` times this one's, plus `shift`."""
        return Convolution(self.kernels, self.biases, self.strides, self.head.rescaled(scale, shift))


def convolved(
    image: Float[Array, "h w c"], kernel: Float[Array, "side side c e"], stride: int
) -> Float[Array, "oh ow e"]:
    """The convolution without padding, as one matrix product with all patches of the image.

    XLA's own convolution is as fast forwards; on a processor the gradient of its kernel is slower by an order of
    magnitude inside a compiled loop.
    """
    height, width, channels = image.shape
    side = kernel.shape[0]
    rows, columns = jnp.arange(0, height - side + 1, stride), jnp.arange(0, width - side + 1, stride)
    corners = rows[:, None] * width + columns[None]
    inside = jnp.arange(side)[:, None] * width + jnp.arange(side)[None]
    pixels = corners[:, :, None] + inside.reshape(1, 1, -1)
    patches = image.reshape(-1, channels).at[pixels].get(mode="promise_in_bounds")
    return patches.reshape(*corners.shape, -1) @ kernel.reshape(-1, kernel.shape[-1])


def channels_last(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Height, width and channels of images of this shape."""
    if len(shape) == 2:
        return (*shape, 1)
    first, middle, last = shape
    return (middle, last, first) if first < last else (first, middle, last)


def to_channels_last(image: Float[Array, "*hwc"]) -> Float[Array, "h w c"]:
    """The image with its channels on the last axis."""
    if image.ndim == 2:
        return image[..., None]
    return jnp.moveaxis(image, 0, -1) if image.shape[0] < image.shape[-1] else image
