"""The coordinates of a state: names and units, which are angles or velocities, and differences between states."""

import dataclasses
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.core.spaces import coordinate_names


class StateSpace(eqx.Module):
    """Coordinates of states [n]; those listed in `angles` (radians) are periodic.

    A pair (i, j) in `velocities` states that coordinate j is the rate of change of coordinate i, per second.  Then only
    the change of the velocity has to be learned: x_i' = x_i + dt (x_j + x_j') / 2, by the trapezoidal rule.
    A space is static and hashable, so it can be a static argument of compiled functions.
    """

    size: int = eqx.field(static=True)
    angles: tuple[int, ...] = eqx.field(static=True)
    velocities: tuple[tuple[int, int], ...] = eqx.field(static=True)
    dt: float = eqx.field(static=True)  # s per step; used only with velocities
    names: tuple[str, ...] = eqx.field(static=True)  # of the coordinates, each with its unit: "cart position (m)"

    def __init__(
        self,
        size: int,
        angles: tuple[int, ...] = (),
        velocities: tuple[tuple[int, int], ...] = (),
        dt: float = 0.0,
        names: Sequence[str] = (),
    ):
        """A space of `size` coordinates; without `names` they are called "x[0]", "x[1]", ..."""
        self.size, self.angles, self.velocities, self.dt = size, angles, velocities, dt
        self.names = coordinate_names(names, size, "StateSpace", "x", units={i: "rad" for i in angles})

    def __check_init__(self):
        """Refuse unknown coordinates, a position with two velocities, and velocities without a time step."""
        named = (*self.angles, *(i for pair in self.velocities for i in pair))
        wrong = sorted({i for i in named if not 0 <= i < self.size})
        if wrong:
            raise ValueError(f"StateSpace: {wrong} are not indices of a state with {self.size} entries.")
        positions, rates = ([pair[k] for pair in self.velocities] for k in (0, 1))
        if len(set(positions)) < len(positions) or set(positions) & set(rates):
            raise ValueError(
                f"StateSpace.velocities {self.velocities}: each position has one velocity, and a velocity has none."
            )
        if self.velocities and not 0 < self.dt < float("inf"):
            raise ValueError(f"StateSpace.velocities need the time step of the environment, dt > 0 s; got {self.dt}.")

    @property
    def learned(self) -> tuple[int, ...]:
        """Coordinates whose change a model must predict; positions are integrated from their velocities."""
        positions = {i for i, _ in self.velocities}
        return tuple(i for i in range(self.size) if i not in positions)

    def without_velocities(self) -> "StateSpace":
        """The same coordinates without velocities: all of them are learned."""
        return dataclasses.replace(self, velocities=(), dt=0.0)

    def flow(self) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n k"]]:
        """A and B of `x' = A x + B y`, y the changes of the `learned` coordinates."""
        A, B = np.eye(self.size), np.eye(self.size)[:, list(self.learned)]
        for i, j in self.velocities:
            A[i, j] = self.dt
            B[i, self.learned.index(j)] = self.dt / 2
        return A, B

    @property
    def feature_size(self) -> int:
        """The number of features of a state."""
        return self.size + len(self.angles)

    def features(self, x: Float[Array, "n"]) -> Float[Array, "f"]:
        """All coordinates except angles, then sines and cosines of the angles, which are continuous at the wrap."""
        if not self.angles:
            return x
        plain = [x[i] for i in range(self.size) if i not in self.angles]
        angles = jnp.stack([x[i] for i in self.angles])
        return jnp.concatenate([jnp.stack(plain) if plain else x[:0], jnp.sin(angles), jnp.cos(angles)])

    def feature_places(self) -> tuple[int, ...]:
        """The index of each feature in `[x; sines; cosines]`, the order of `core.moments.with_sines`."""
        plain = [i for i in range(self.size) if i not in self.angles]
        return (*plain, *range(self.size, self.size + 2 * len(self.angles)))

    def difference(self, x1: Float[Array, "n"], x0: Float[Array, "n"]) -> Float[Array, "n"]:
        """`x1 - x0`; differences of angles are in [-pi, pi)."""
        raw = x1 - x0
        wrapped = (raw + jnp.pi) % (2 * jnp.pi) - jnp.pi
        is_angle = jnp.zeros(self.size, bool).at[jnp.array(self.angles, int)].set(True)
        return jnp.where(is_angle, wrapped, raw)
