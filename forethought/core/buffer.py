"""A buffer of experience on the device: it grows, or it is a ring that forgets the oldest rows."""

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

    Without `ring` the capacity doubles when it is full, so shapes, and what is compiled from them, change log2(N)
    times.  With `ring` the capacity stays and new rows overwrite the oldest; then `append` works under `jit` too.
    Places that hold no row are zero.  `episode` numbers the episode that each row belongs to.

    Example:
        buffer = Buffer.like({"image": np.zeros((8, 8), np.uint8), "action": np.int32(0)}, 1000, ring=True)
        buffer = buffer.append({"image": images, "action": actions})  # leading axis [T]
        batch = buffer.sample(32, key=key)  # leading axis [32]
    """

    data: Row  # leading axis [capacity]
    episode: Int[Array, "capacity"]
    size: Int[Array, ""]  # rows held
    next: Int[Array, ""] | None = None  # place of the next row in a ring; None in a buffer that grows

    @staticmethod
    def like(row: Row, capacity: int = 256, *, ring: bool = False) -> "Buffer[Row]":
        """A buffer without data for rows like `row`.

        Args:
            row: an example, without leading axis; its leaves are arrays, numbers or `jax.ShapeDtypeStruct`s.
            capacity: rows it has room for at first; in a ring, for good.
            ring: overwrite the oldest rows instead of growing.
        """
        if capacity < 1:
            raise ValueError(f"Buffer.like: capacity must be at least 1 row, got {capacity}.")
        zero = jnp.zeros((), jnp.int32)
        data = jax.tree.map(lambda leaf: _zeros(leaf, capacity), row)
        return Buffer(data, jnp.zeros(capacity, jnp.int32), zero, zero if ring else None)

    @staticmethod
    def empty(n: int, m: int, *, capacity: int = 256, dtype: DTypeLike = jnp.float32) -> "Buffer[Transition]":
        """A growing buffer without data, for transitions between states [n] under actions [m]."""
        x, u, reward, flag = jnp.zeros(n, dtype), jnp.zeros(m, dtype), jnp.zeros((), dtype), jnp.zeros((), bool)
        return Buffer.like(Transition(x, u, x, reward, flag, flag), capacity)

    @property
    def ring(self) -> bool:
        """Whether new rows overwrite the oldest."""
        return self.next is not None

    @property
    def capacity(self) -> int:
        """Rows there is room for."""
        return self.episode.shape[0]

    @property
    def mask(self) -> Bool[Array, "capacity"]:
        """True for places that hold a row."""
        return jnp.arange(self.capacity) < self.size

    def append(
        self,
        rows: Row,
        *,
        where: Bool[AnyArray, "k"] | None = None,
        episode: Int[AnyArray, "*k"] | int | None = None,
    ) -> "Buffer[Row]":
        """The buffer with more rows.

        A growing buffer does this on the host.  A ring does it under `jit` too, where `k` is fixed by the shapes.

        Args:
            rows: leading axis [k], oldest first; structure, shapes and kinds of number as in `data`.
            where: append only the rows that are True here; of a ring only.
            episode: the number of the episode that the rows belong to, or of each; a new one where not given.

        Raises:
            ValueError: the rows do not fit, or a growing buffer is given `where`.
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
        """`n` rows, leading axis [n], each drawn uniformly from all that are held; works under `jit`.

        Under `jit` an empty buffer gives zeros; outside it is an error.
        """
        if not isinstance(self.size, jax.core.Tracer) and not int(self.size):
            raise ValueError("Buffer.sample: the buffer is empty.")
        places = jr.randint(key, (n,), 0, jnp.maximum(self.size, 1))
        return jax.tree.map(lambda leaf: leaf[places], self.data)

    def rows(self) -> Row:
        """What the buffer holds, oldest first, leading axis [size]; a host operation, not for use under `jit`."""
        size, oldest = int(self.size), 0 if self.next is None else int(self.next)
        if size < self.capacity or not oldest:
            return jax.tree.map(lambda leaf: leaf[:size], self.data)
        return jax.tree.map(lambda leaf: jnp.roll(leaf, -oldest, axis=0), self.data)

    def _next_episode(self) -> Array:
        """One more than the number of the newest row; 0 in an empty buffer."""
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
    """A ring with those rows more that are True in `where`."""
    capacity, where = buffer.capacity, jnp.asarray(where)
    if where.shape[0] > capacity:
        raise ValueError(f"Buffer.append: {where.shape[0]} rows at once do not fit a ring of {capacity}.")
    assert buffer.next is not None
    order, count = jnp.cumsum(where, dtype=jnp.int32) - 1, jnp.sum(where, dtype=jnp.int32)
    places = jnp.where(where, (buffer.next + order) % capacity, capacity)  # what goes to `capacity` is dropped

    def write(old: Array, new: Any) -> Array:
        return old.at[places].set(jnp.asarray(new).astype(old.dtype), mode="drop")

    data = jax.tree.map(write, buffer.data, rows)
    episode = write(buffer.episode, jnp.broadcast_to(jnp.asarray(number), where.shape))
    size = jnp.minimum(buffer.size + count, capacity)
    return Buffer(data, episode, size, (buffer.next + count) % capacity)


_overwrite_compiled = eqx.filter_jit(_overwrite)


def _zeros(leaf: Any, capacity: int) -> Array:
    """Room for `capacity` leaves."""
    dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
    return jnp.zeros((capacity, *np.shape(leaf)), jax.dtypes.canonicalize_dtype(dtype))


def _count(data: Any, rows: Any) -> int:
    """The number of rows; raises `ValueError` where they do not fit the data."""
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
