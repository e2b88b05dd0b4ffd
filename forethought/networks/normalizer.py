"""Standardization of data: mean and standard deviation of each coordinate, in any units.

Whether a coordinate varies is decided relative to its own magnitude, so data may have any scale: in float32 a standard
deviation below 1e-6 of the magnitude is rounding.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

ROUNDING = 8  # a coordinate is constant whose std is below so many units of rounding of its largest magnitude
ZERO = 1e-14  # magnitudes below are the rounding, in float64, of numbers of order 1 that cancel: zero
CONSTANT = 1e-6  # scale of a constant output, relative to its magnitude: predictions have hardly any noise


class Normalizer(eqx.Module):
    """Shift and scale of each coordinate."""

    mean: Float[Array, "d"]
    std: Float[Array, "d"]

    @staticmethod
    def identity(d: int) -> "Normalizer":
        """No change."""
        return Normalizer(jnp.zeros(d), jnp.ones(d))

    @staticmethod
    def of_inputs(data: Float[Array, "N d"], weight: Float[Array, "N"]) -> "Normalizer":
        """Rows of weight 1 get mean 0 and standard deviation 1; the scale of a constant coordinate is 1."""
        mean, std = mean_and_std(data, weight)
        return Normalizer(mean, jnp.where(std == 0, 1.0, std))

    @staticmethod
    def of_outputs(data: Float[Array, "N d"], weight: Float[Array, "N"]) -> "Normalizer":
        """Standardizes the rows of weight 1; a constant coordinate keeps its value, with hardly any noise."""
        mean, std = mean_and_std(data, weight)
        return Normalizer(mean, jnp.where(std == 0, jnp.maximum(CONSTANT * jnp.abs(mean), ZERO), std))

    def __call__(self, z: Float[Array, "d"]) -> Float[Array, "d"]:
        """Standardized coordinates."""
        return (z - self.mean) / self.std


def mean_and_std(data: Float[Array, "N d"], weight: Float[Array, "N"]) -> tuple[Float[Array, "d"], Float[Array, "d"]]:
    """Mean and standard deviation of each coordinate over the rows of weight 1; the std of a constant is exactly 0.

    Sums run over differences from one of the rows: in float32 the mean of equal numbers is not that number.  They are
    relative to the largest magnitude: squares of tiny and of huge numbers leave the range of float32.  NaN stays NaN.
    """
    used = (weight > 0)[:, None]
    size = jnp.max(jnp.where(used, jnp.abs(data), 0), axis=0, initial=0.0)
    size = jnp.where(size > 0, size, 1.0)
    count = jnp.maximum(jnp.sum(weight), 1)
    origin = data[jnp.argmax(weight)]
    shifted = jnp.where(used, (data - origin[None]) / size[None], 0)
    offset = jnp.sum(shifted, axis=0) / count
    std = jnp.sqrt(jnp.sum(jnp.where(used, (shifted - offset[None]) ** 2, 0), axis=0) / count)
    constant = (std <= ROUNDING * jnp.finfo(data.dtype).eps) | (std * size <= ZERO)  # NaN is not
    return origin + size * offset, jnp.where(constant, 0, std * size)
