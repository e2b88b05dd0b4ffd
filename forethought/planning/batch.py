"""Many trajectory optimizations of one problem, from different initial states, side by side.

A batch of problems advances together for a few iterations.  Then, on the host, each solved problem is replaced by the
next unsolved one, so that one slow problem does not delay the others.  When fewer problems than places in the batch
("lanes") are left, the batch is halved; the number of compilations is at most log2 of its size.
"""

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from forethought.core import Plan, Problem, UsageError
from forethought.planning.ilqr import ILQR, ILQRSearch, as_plan, solve, start


def solve_batch(
    settings: ILQR,
    problem: Problem,
    x0s: Float[Array, "B n"],
    us: Float[Array, "B T m"] | None = None,
    *,
    lanes: int = 16,
    chunk: int = 5,
) -> tuple[Plan, np.ndarray]:
    """A plan for each initial state, stacked [B], and its number of iterations [B]; to be called outside `jit`.

    Args:
        settings: settings of each optimization, which starts from `us` without a sampling search.
        problem: the problem; only the initial state differs.
        x0s: initial states.
        us: initial actions; None means the middle of the action range.
        lanes: batch size, a power of two; on a CPU, the arrays of one step should fit the cache.
        chunk: number of iterations between checks for solved problems.
    Raises: UsageError if `lanes` is not a power of two.
    """
    if lanes < 1 or lanes & (lanes - 1):
        raise UsageError(f"solve_batch takes a power of two for lanes, got {lanes}; 16 is a good choice on a CPU.")
    if us is None:
        first = settings.init(problem).us.astype(x0s.dtype)
        us = jnp.broadcast_to(first, (x0s.shape[0], *first.shape))
    pool = jax.tree.map(np.array, _start(settings, problem, x0s, us))
    while (waiting := np.flatnonzero(~pool.done & (pool.steps < settings.iterations))).size:
        size = min(lanes, 1 << (waiting.size - 1).bit_length())
        rows = np.resize(waiting[:size], size)  # a problem may occur twice, with the same result
        advanced = _advance(settings, problem, jax.tree.map(lambda a: a[rows], pool), chunk)  # noqa: B023
        for all_, some in zip(jax.tree.leaves(pool), jax.tree.leaves(advanced), strict=True):
            all_[rows] = np.asarray(some)
    return _plans(problem, pool), pool.steps


@eqx.filter_jit
def _start(settings: ILQR, problem: Problem, x0s, us) -> ILQRSearch:
    return jax.vmap(lambda x0, us: start(settings, problem, x0, us))(x0s, us)


@eqx.filter_jit
def _advance(settings: ILQR, problem: Problem, search: Any, chunk: int) -> Any:
    """One chunk of iterations; the batch is the last axis, so that vector instructions process several problems."""
    last = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), search)
    last = jax.vmap(partial(solve, settings, problem, iterations=chunk), in_axes=-1, out_axes=-1)(last)
    return jax.tree.map(lambda a: jnp.moveaxis(a, -1, 0), last)


@eqx.filter_jit
def _plans(problem: Problem, pool: ILQRSearch) -> Plan:
    return jax.vmap(lambda one: as_plan(problem, one))(pool)
