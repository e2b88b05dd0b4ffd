"""The actions that a task allows (a box of real numbers, or one of n choices), and what an environment shows.

Symbols: u [m] an action in the task's own units; of a `Discrete` space u [] is an integer in [0, n).
"""

import math
from collections.abc import Mapping, Sequence

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core.data import AnyArray, Transition
from forethought.core.errors import UsageError


class Box(eqx.Module):
    """Actions [m] between `low` and `high`, each in its own unit; a limit may be infinite."""

    low: Float[AnyArray, "m"]
    high: Float[AnyArray, "m"]
    names: tuple[str, ...] = eqx.field(static=True)  # of the coordinates, each with its unit: "force (N)"

    def __init__(self, low: Float[AnyArray, "m"], high: Float[AnyArray, "m"], names: Sequence[str] = ()):
        """A box; without `names` its coordinates are called "u[0]", "u[1]", ..."""
        self.low, self.high = low, high
        self.names = coordinate_names(names, low.shape[0], "Box", "u")

    @staticmethod
    def symmetric(limit: Float[AnyArray, "m"], names: Sequence[str] = ()) -> "Box":
        """Actions from `-limit` to `limit`."""
        return Box(-limit, limit, names)

    @property
    def size(self) -> int:
        """How many numbers a model sees of an action: its coordinates, m."""
        return self.low.shape[0]

    @property
    def center(self) -> Float[Array, "m"]:
        """The middle of each range; not finite where a limit is infinite."""
        return 0.5 * (self.low + self.high)

    @property
    def half_range(self) -> Float[Array, "m"]:
        """Half the width of each range; infinite where a limit is."""
        return 0.5 * (self.high - self.low)

    def example(self) -> Float[Array, "m"]:
        """An action of zeros, within the limits or not."""
        return jnp.zeros_like(jnp.asarray(self.low))

    def clip(self, u: Float[AnyArray, "m"]) -> Float[Array, "m"]:
        """The nearest action within the limits."""
        return jnp.clip(u, self.low, self.high)

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "m"]:
        """An action uniform between the limits; NaN or infinite where a limit is infinite."""
        low = jnp.asarray(self.low)
        return low + (self.high - low) * jr.uniform(key, low.shape, low.dtype)


class Discrete(eqx.Module):
    """Actions 0 to n - 1."""

    n: int = eqx.field(static=True)

    @property
    def size(self) -> int:
        """How many numbers a model sees of an action: one for each choice (one-hot)."""
        return self.n

    def __check_init__(self) -> None:
        """There is at least one choice."""
        if self.n < 1:
            raise ValueError(f"Discrete needs at least 1 action, got {self.n}.")

    def example(self) -> Int[Array, ""]:
        """The first action."""
        return jnp.zeros((), jnp.int32)

    def clip(self, u: Int[AnyArray, ""]) -> Int[Array, ""]:
        """The nearest action that exists."""
        return jnp.clip(u, 0, self.n - 1)

    def sample(self, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """An action, each as likely as the others."""
        return jr.randint(key, (), 0, self.n)


def coordinate_names(
    given: Sequence[str], size: int, owner: str, symbol: str, units: Mapping[int, str] | None = None
) -> tuple[str, ...]:
    """The names of `size` coordinates: those `given`, else `symbol[i]` with the unit where one is known.

    Raises:
        ValueError: not one name for each coordinate, or two that are equal.
    """
    if not given:
        units = units or {}
        return tuple(f"{symbol}[{i}] ({units[i]})" if i in units else f"{symbol}[{i}]" for i in range(size))
    if len(given) != size or len(set(given)) < size:
        raise ValueError(
            f"{owner}.names must be {size} different names, one for each coordinate; got {len(given)}: "
            f"{', '.join(map(str, given))}."
        )
    return tuple(given)


class Observations(eqx.Module):
    """Observations: arrays of one shape and dtype.

    `counts` [size] for integers that name a state or a category: entry i is one of 0 to `counts[i]` - 1.  Without it
    integers are quantities, such as the brightness of a pixel.  `angles`: entries of a vector that are angles, rad.
    Static and hashable: it can key a compilation.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    dtype: str = eqx.field(static=True, default="float32")
    counts: tuple[int, ...] | None = eqx.field(static=True, default=None)
    angles: tuple[int, ...] = eqx.field(static=True, default=())

    @property
    def size(self) -> int:
        """How many numbers an observation has."""
        return math.prod(self.shape)

    @property
    def is_vector(self) -> bool:
        """Whether observations are real numbers [n], which models of continuous states need."""
        return len(self.shape) == 1 and self.dtype.startswith("float")

    @property
    def is_image(self) -> bool:
        """Whether observations have a height and a width."""
        return len(self.shape) >= 2 and self.counts is None

    @property
    def states(self) -> int | None:
        """How many different observations there are; None unless they are integers that name a state."""
        return None if self.counts is None else math.prod(self.counts)

    def state_index(self, x: Int[AnyArray, "*d"]) -> Int[Array, ""]:
        """The number of observation `x` among all `states`, from 0; of several integers the last one counts up first.

        Raises:
            ValueError: the observations are not integers that name a state.
        """
        if self.counts is None:
            raise ValueError(f"Observations.state_index: {self} does not name a state.")
        strides = [math.prod(self.counts[i + 1 :]) for i in range(len(self.counts))]
        return jnp.sum(jnp.ravel(x) * jnp.asarray(strides, jnp.int32), dtype=jnp.int32)

    def example(self) -> Array:
        """An observation of zeros."""
        return jnp.zeros(self.shape, self.dtype)

    def __str__(self) -> str:
        """In words: "uint8 [84, 84, 3]", "an integer below 16"."""
        if self.counts is None:
            return f"{self.dtype} {list(self.shape)}"
        limits = sorted(set(self.counts))
        below = f"below {limits[-1]}"
        return f"an integer {below}" if not self.shape else f"{self.size} integers {below}"


class Spaces(eqx.Module):
    """What a learner must know of an environment before it has seen a step of it."""

    observations: Observations
    actions: Box | Discrete

    def example(self) -> Transition:
        """A transition of zeros: `Buffer.like(spaces.example(), capacity)` holds the environment's experience."""
        x, u = self.observations.example(), self.actions.example()
        reward = jnp.zeros((), jnp.result_type(float))
        return Transition(x, u, x, reward, jnp.zeros((), bool), jnp.zeros((), bool))


def require_box(space: Box | Discrete, who: str) -> Box:
    """`space`, if its actions are continuous.

    Raises:
        UsageError: it is discrete; `who` says what cannot work with that.
    """
    if isinstance(space, Box):
        return space
    raise UsageError(f"{who} needs continuous actions (a Box action space); this task has {space.n} discrete ones.")
