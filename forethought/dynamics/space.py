"""What the numbers of a state mean to a regression: which are angles, and how two states differ."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class StateSpace(eqx.Module):
    """Coordinates of states [n]; those listed in `angles` (radians) live on a circle.

    Static and hashable: it can key a compilation.
    """

    size: int = eqx.field(static=True)
    angles: tuple[int, ...] = eqx.field(static=True, default=())

    def __check_init__(self):
        """Angles must be coordinates of the state."""
        wrong = [i for i in self.angles if not 0 <= i < self.size]
        if wrong:
            raise ValueError(f"StateSpace.angles {wrong} are not coordinates of a state with {self.size} entries.")

    @property
    def feature_size(self) -> int:
        """How many features a state has."""
        return self.size + len(self.angles)

    def features(self, x: Float[Array, "n"]) -> Float[Array, "f"]:
        """Plain coordinates, then sine and cosine of every angle: continuous where an angle wraps."""
        if not self.angles:
            return x
        plain = [x[i] for i in range(self.size) if i not in self.angles]
        angles = jnp.stack([x[i] for i in self.angles])
        return jnp.concatenate([jnp.stack(plain) if plain else x[:0], jnp.sin(angles), jnp.cos(angles)])

    def feature_places(self) -> tuple[int, ...]:
        """Where each feature stands in `[x; sines; cosines]`, which is how `core.moments.with_sines` orders them."""
        plain = [i for i in range(self.size) if i not in self.angles]
        return (*plain, *range(self.size, self.size + 2 * len(self.angles)))

    def difference(self, x1: Float[Array, "n"], x0: Float[Array, "n"]) -> Float[Array, "n"]:
        """`x1 - x0`, angles by the shorter way round, in [-pi, pi)."""
        raw = x1 - x0
        wrapped = (raw + jnp.pi) % (2 * jnp.pi) - jnp.pi
        is_angle = jnp.zeros(self.size, bool).at[jnp.array(self.angles, int)].set(True)
        return jnp.where(is_angle, wrapped, raw)
