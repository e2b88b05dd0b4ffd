"""Products and elimination of small matrices as elementwise operations, because BLAS calls would take longer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

T = TypeVar("T")

SMALL = 8  # most rows or columns of a product that is written as a sum, which XLA fuses with its neighbors


def matmul(A: Float[Array, "i k"], B: Float[Array, "k j"]) -> Float[Array, "i j"]:
    """`A B`."""
    return A @ B if max(*A.shape, *B.shape) > SMALL else jnp.sum(A[:, :, None] * B[None], axis=1)


def matvec(A: Float[Array, "i k"], x: Float[Array, "k"]) -> Float[Array, "i"]:
    """`A x`."""
    return A @ x if max(A.shape) > SMALL else jnp.sum(A * x[None], axis=1)


def eliminate(M: Float[Array, "r c"], pivots: Sequence[int]) -> tuple[Float[Array, "r c"], Float[Array, "p"]]:
    """Gauss-Jordan elimination on the coordinates `pivots`, without row exchanges; also returns the pivot values.

    The block of the pivots must be symmetric positive definite: then no exchange is needed and all pivots are
    positive.  Each pivot is one fused operation, since the calls dominate the time for small matrices.
    """
    met = []
    for k in pivots:
        met.append(M[k, k])
        M = pivot_on(M, k, M[k] / M[k, k])
    return M, jnp.stack(met)


def pivot_on(M: Float[Array, "r c"], k: int, row: Float[Array, "c"]) -> Float[Array, "r c"]:
    """Replace row `k` by `row` (1 in column `k`) and subtract multiples of it to zero the rest of column `k`."""
    cleared = M - M[:, k, None] * row[None]
    here = (jnp.arange(M.shape[0]) == k)[:, None]
    return jnp.where(here, row[None], cleared)


def lazily(wanted: Bool[Array, ""], f: Callable[[T], T], x: T) -> T:
    """`f(x)` if `wanted`, else `x`; under `vmap`, `f` is skipped if no entry wants it, unlike with `cond`."""
    return jax.lax.while_loop(lambda carry: carry[1], lambda carry: (f(carry[0]), jnp.array(False)), (x, wanted))[0]
