"""Experience: transitions, trajectories, and the growing buffer that models learn from."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

if TYPE_CHECKING:
    AnyArray = Any  # either may stand where the other is meant; what is really there is checked when tests run
else:
    AnyArray = Array | np.ndarray  # episodes are recorded on the host as NumPy arrays


class Transition(eqx.Module):
    """One step of experience; with a leading axis [T] an episode, in order.

    `terminated`: the task ended in `x_next`, nothing follows it.  `truncated`: the clock ended, life would go on.
    """

    x: Float[AnyArray, "*b n"]
    u: Float[AnyArray, "*b m"]
    x_next: Float[AnyArray, "*b n"]
    reward: Float[AnyArray, "*b"]
    terminated: Bool[AnyArray, "*b"]
    truncated: Bool[AnyArray, "*b"]

    def __len__(self) -> int:
        """The number of steps in an episode."""
        return self.reward.shape[0]


class Trajectory(eqx.Module):
    """States, actions and costs over a horizon of T steps; `costs[T]` is the final cost.

    `alive[t]` is False from the first terminal state on: costs there are zero.
    """

    xs: Float[Array, "S n"]  # S = T + 1
    us: Float[Array, "T m"]
    costs: Float[Array, "S"]
    alive: Bool[Array, "S"]

    @staticmethod
    def of_episode(episode: Transition) -> "Trajectory":
        """The trajectory of a recorded episode (leading axis [T]); its final cost is zero."""
        xs = jnp.concatenate([episode.x, episode.x_next[-1:]])
        costs = jnp.append(-episode.reward, 0)
        return Trajectory(xs, jnp.asarray(episode.u), costs, jnp.append(True, ~episode.terminated))


class Buffer(eqx.Module):
    """All experience so far in arrays of fixed capacity; the capacity doubles, so shapes change log2(N) times.

    Rows from `size` on are padding (zeros).  `episode` numbers the episode that each row belongs to.
    """

    data: Transition  # [capacity]
    episode: Int[Array, "capacity"]
    size: Int[Array, ""]

    @staticmethod
    def empty(n: int, m: int, *, capacity: int = 256, dtype: DTypeLike = jnp.float32) -> "Buffer":
        """A buffer without data, for states [n] and actions [m]."""
        flags = jnp.zeros(capacity, bool)
        xs, us, rewards = (jnp.zeros((capacity, *shape), dtype) for shape in ((n,), (m,), ()))
        data = Transition(xs, us, xs, rewards, flags, flags)
        return Buffer(data, jnp.zeros(capacity, jnp.int32), jnp.zeros((), jnp.int32))

    @property
    def capacity(self) -> int:
        """Rows, padding included."""
        return self.episode.shape[0]

    @property
    def mask(self) -> Bool[Array, "capacity"]:
        """True for rows that hold data."""
        return jnp.arange(self.capacity) < self.size

    def append(self, episode: Transition) -> "Buffer":
        """The buffer with one more episode (leading axis [T]); a host operation, not for use under `jit`."""
        start, steps = int(self.size), len(episode)
        capacity = self.capacity
        while capacity < start + steps:
            capacity *= 2
        number = int(self.episode[start - 1]) + 1 if start else 0

        def insert(old: Array, new: AnyArray) -> Array:
            rows = np.zeros((capacity, *old.shape[1:]), old.dtype)
            rows[:start] = np.asarray(old)[:start]
            rows[start : start + steps] = np.asarray(new)
            return jnp.asarray(rows)

        data = jax.tree.map(insert, self.data, episode)
        numbers = insert(self.episode, np.full(steps, number, np.int32))
        return Buffer(data, numbers, jnp.asarray(start + steps, jnp.int32))

    def rows(self) -> Transition:
        """The data without padding, leading axis [size]."""
        return jax.tree.map(lambda a: a[: int(self.size)], self.data)
