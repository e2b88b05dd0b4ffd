"""Changes of units, so that numerical methods work with numbers of order 1.

value = center + scale * number: a vector [d] in the units of a task, and the number that stands for it.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.core.gaussian import LinearGaussian


class Units(eqx.Module):
    """The center and the (positive) scale of each coordinate."""

    center: Float[Array, "d"]
    scale: Float[Array, "d"]

    def __call__(self, value: Float[Array, "d"]) -> Float[Array, "d"]:
        """The numbers that stand for a vector."""
        return (value - self.center) / self.scale

    @property
    def inverse(self) -> "Units":
        """The units in which the numbers are expressed as the vector again."""
        return Units(-self.center / self.scale, 1 / self.scale)

    def join(self, other: "Units") -> "Units":
        """Those of a vector of this one's coordinates and the other's, side by side."""
        return Units(jnp.concatenate([self.center, other.center]), jnp.concatenate([self.scale, other.scale]))


def change_units(p: LinearGaussian, z: Units, y: Units) -> LinearGaussian:
    """The conditional `p(y | z)` of vectors, as a conditional of the numbers that stand for them."""
    F = p.F * z.scale[None] / y.scale[:, None]
    return LinearGaussian(F, (p.F @ z.center + p.f - y.center) / y.scale, p.cov / (y.scale[:, None] * y.scale[None]))
