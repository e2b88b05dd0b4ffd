"""A replay buffer on the device: it grows, or it has a fixed capacity and overwrites the oldest rows (a ring)."""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from forethought.core.data import AnyArray, Transition

Row = TypeVar("Row")  # a pytree of arrays; in a buffer each has a leading axis


class Buffer(eqx.Module, Generic[Row]):
    """Rows of any pytree in arrays of fixed capacity; each leaf keeps its shape and dtype (images stay uint8).

    Without `ring` the capacity doubles when the buffer is full, so that array shapes change, and functions recompile,
    only log2(N) times.  With `ring` the capacity is fixed and new rows overwrite the oldest; `append` then works under
    `jit` too.  Unused rows are zero.  `episode` is the number of the episode that each row belongs to.

    Example:
        buffer = Buffer.like({"image": np.zeros((8, 8), np.uint8), "action": np.int32(0)}, 1000, ring=True)
        buffer = buffer.append({"image": images, "action": actions})  # leading axis [T]
        batch = buffer.sample(32, key=key)  # leading axis [32]
    """

    data: Row  # leading axis [capacity]
    episode: Int[Array, "capacity"]
    size: Int[Array, ""]  # number of rows in use
    next: Int[Array, ""] | None = None  # index where a ring writes its next row; None in a growing buffer

    @staticmethod
    def like(row: Row, capacity: int = 256, *, ring: bool = False) -> "Buffer[Row]":
        """An empty buffer for rows like `row`.

        Args:
            row: an example row without leading axis; its leaves are arrays, numbers or `jax.ShapeDtypeStruct`s.
            capacity: initial capacity in rows; the capacity of a ring never changes.
            ring: overwrite the oldest rows instead of growing.
        """
        if capacity < 1:
            raise ValueError(f"Buffer.like: capacity must be at least 1 row, got {capacity}.")
        zero = jnp.zeros((), jnp.int32)
        data = jax.tree.map(lambda leaf: _zeros(leaf, capacity), row)
        return Buffer(data, jnp.zeros(capacity, jnp.int32), zero, zero if ring else None)

    @staticmethod
    def empty(n: int, m: int, *, capacity: int = 256, dtype: DTypeLike = jnp.float32) -> "Buffer[Transition]":
        """An empty growing buffer for transitions between states [n] under actions [m]."""
        x, u, reward, flag = jnp.zeros(n, dtype), jnp.zeros(m, dtype), jnp.zeros((), dtype), jnp.zeros((), bool)
        return Buffer.like(Transition(x, u, x, reward, flag, flag), capacity)

    @property
    def ring(self) -> bool:
        """Whether new rows overwrite the oldest."""
        return self.next is not None

    @property
    def capacity(self) -> int:
        """The capacity, in rows."""
        return self.episode.shape[0]

    @property
    def mask(self) -> Bool[Array, "capacity"]:
        """True for the rows in use."""
        return jnp.arange(self.capacity) < self.size

    def append(
        self,
        rows: Row,
        *,
        where: Bool[AnyArray, "k"] | None = None,
        episode: Int[AnyArray, "*k"] | int | None = None,
    ) -> "Buffer[Row]":
        """The buffer with `rows` appended.

        A growing buffer appends on the host.  A ring can also append under `jit`.

        Args:
            rows: leading axis [k], oldest first; same structure, shapes and kinds of number as `data`.
            where: append only the rows for which this is True; only a ring accepts it.
            episode: the episode number of all rows, or of each row; by default the rows are a new episode.

        Raises:
            ValueError: the rows do not match the buffer's structure or shapes, or a growing buffer is given `where`.
        """
        count = _count(self.data, rows)
        number = self._next_episode() if episode is None else episode
        if self.next is None:
            if where is not None:
                raise ValueError("Buffer.append: `where` is for a ring; select the rows before you append them.")
            return self._grow(rows, count, number)
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((self, rows, where, number)))
        if traced or where is not None:
            return _overwrite(self, rows, jnp.ones(count, bool) if where is None else where, number)
        return self._overwrite_from_host(rows, count, number)

    def sample(self, n: int, *, key: PRNGKeyArray) -> Row:
        """`n` rows, leading axis [n], sampled uniformly with replacement; works under `jit`.

        An empty buffer gives zeros under `jit` and raises `ValueError` outside of it.
        """
        if not isinstance(self.size, jax.core.Tracer) and not int(self.size):
            raise ValueError("Buffer.sample: the buffer is empty.")
        places = jr.randint(key, (n,), 0, jnp.maximum(self.size, 1))
        return jax.tree.map(lambda leaf: leaf[places], self.data)

    def with_capacity(self, capacity: int) -> "Buffer[Row]":
        """A ring that has not overwritten anything yet, with more room; a host operation.

        Raises:
            ValueError: no ring, less room, or rows were overwritten, so that there is no place for the new ones.
        """
        if self.next is None or capacity < self.capacity:
            raise ValueError(f"Buffer.with_capacity: a ring of {self.capacity} rows or more can be made larger.")
        if int(self.size) == self.capacity:
            raise ValueError("Buffer.with_capacity: the ring is full; it could have overwritten rows already.")

        def grown(leaf: Array) -> Array:
            return jnp.concatenate([leaf, jnp.zeros((capacity - leaf.shape[0], *leaf.shape[1:]), leaf.dtype)])

        return Buffer(jax.tree.map(grown, self.data), grown(self.episode), self.size, self.next)

    def rows(self) -> Row:
        """All rows in use, oldest first, leading axis [size]; runs on the host, not under `jit`."""
        size, oldest = int(self.size), 0 if self.next is None else int(self.next)
        if size < self.capacity:
            oldest = 0
        # NumPy: JAX would compile a program for each size.
        return jax.tree.map(lambda leaf: jnp.asarray(np.roll(np.asarray(leaf)[:size], -oldest, axis=0)), self.data)

    def _next_episode(self) -> Array:
        """The number of the next episode: one more than that of the newest row; 0 for an empty buffer."""
        newest = self.episode[((self.size if self.next is None else self.next) - 1) % self.capacity]
        return jnp.where(self.size > 0, newest + 1, 0)

    def _grow(self, rows: Row, count: int, number: Any) -> "Buffer[Row]":
        start, capacity = int(self.size), self.capacity
        while capacity < start + count:
            capacity *= 2

        def insert(old: Array, new: AnyArray) -> Array:
            grown = np.zeros((capacity, *old.shape[1:]), old.dtype)
            grown[:start] = np.asarray(old)[:start]
            grown[start : start + count] = np.asarray(new)
            return jnp.asarray(grown)

        data = jax.tree.map(insert, self.data, rows)
        return Buffer(data, insert(self.episode, np.asarray(number)), jnp.asarray(start + count, jnp.int32))

    def _overwrite_from_host(self, rows: Row, count: int, number: Any) -> "Buffer[Row]":
        """Padded to a power of two, so that episodes of many lengths share a few compiled programs."""
        kept = min(count, self.capacity)
        padded = min(1 << max(kept - 1, 0).bit_length(), self.capacity)

        def pad(leaf: AnyArray) -> np.ndarray:
            newest = np.asarray(leaf)[count - kept :]
            return np.concatenate([newest, np.zeros((padded - kept, *newest.shape[1:]), newest.dtype)])

        numbers = pad(np.broadcast_to(np.asarray(number, np.int32), (count,)))
        return _overwrite_compiled(self, jax.tree.map(pad, rows), np.arange(padded) < kept, numbers)


def _overwrite(buffer: Buffer, rows: Any, where: Any, number: Any) -> Buffer:
    """The ring with the rows appended for which `where` is True."""
    capacity, where = buffer.capacity, jnp.asarray(where)
    if where.shape[0] > capacity:
        raise ValueError(f"Buffer.append: {where.shape[0]} rows at once do not fit a ring of {capacity}.")
    assert buffer.next is not None
    order, count = jnp.cumsum(where, dtype=jnp.int32) - 1, jnp.sum(where, dtype=jnp.int32)
    places = jnp.where(where, (buffer.next + order) % capacity, capacity)  # JAX drops rows at index `capacity`

    def write(old: Array, new: Any) -> Array:
        return old.at[places].set(jnp.asarray(new).astype(old.dtype), mode="drop")

    data = jax.tree.map(write, buffer.data, rows)
    episode = write(buffer.episode, jnp.broadcast_to(jnp.asarray(number), where.shape))
    size = jnp.minimum(buffer.size + count, capacity)
    return Buffer(data, episode, size, (buffer.next + count) % capacity)


_overwrite_compiled = eqx.filter_jit(_overwrite)


def _zeros(leaf: Any, capacity: int) -> Array:
    """The leaf with its leading axis extended to `capacity`."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return jnp.zeros((capacity, *np.shape(leaf)), jax.dtypes.canonicalize_dtype(dtype))


def _count(data: Any, rows: Any) -> int:
    """The number of rows; raises `ValueError` if they do not match the buffer's data."""
    have: Any = jax.tree.structure(data)
    given: Any = jax.tree.structure(rows)
    if have != given:
        raise ValueError(f"Buffer.append: rows of structure {given} do not fit the buffer's {have}.")
    old, new = jax.tree_util.tree_leaves_with_path(data), jax.tree.leaves(rows)
    count = np.shape(new[0])[0] if np.ndim(new[0]) else 0
    for (path, there), leaf in zip(old, new, strict=True):
        name, shape, dtype = jax.tree_util.keystr(path), np.shape(leaf), jnp.result_type(leaf)
        if shape != (count, *there.shape[1:]):
            expected = [max(count, 1), *there.shape[1:]]
            raise ValueError(f"Buffer.append: {name} has shape {list(shape)}; {expected} would fit the buffer.")
        if not np.can_cast(dtype, there.dtype, "same_kind"):
            raise ValueError(f"Buffer.append: {name} holds {dtype}, which a buffer of {there.dtype} cannot keep.")
    return count
