"""A small quadratic program with bounds, by projected Newton steps.

Problem
    minimize  0.5 v'H v + q'v   subject to   low <= v <= high        v, q, low, high [m]; H [m, m] positive definite
A coordinate is clamped where it sits on a bound and the gradient pushes it outwards; each iteration takes a Newton
step in the others, along the projection of the search ray onto the box.
Source: Tassa, Mansard & Todorov (2014), "Control-limited differential dynamic programming", section III.A and
algorithm 1; Bertsekas (1982), "Projected Newton methods for optimization problems with simple constraints".
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.core.small_matrices import eliminate

ITERATIONS = 30  # of projected Newton steps; one or two suffice near a solution
HALVINGS = 12  # of a step; Tassa et al. stop at 1e-22, where nothing moves any more
SUFFICIENT = 0.1  # share of the linear decrease that a step must achieve


class BoxQPSolution(eqx.Module):
    """The minimizer and which of its coordinates are clamped."""

    v: Float[Array, "m"]
    clamped: Bool[Array, "m"]


class _Search(eqx.Module):
    v: Float[Array, "m"]
    clamped: Bool[Array, "m"]
    done: Bool[Array, ""]
    steps: Int[Array, ""]


def solve_box_qp(
    H: Float[Array, "m m"], q: Float[Array, "m"], low: Float[Array, "m"], high: Float[Array, "m"]
) -> BoxQPSolution:
    """The minimizer within the bounds, `low <= high`; infinite bounds are allowed.

    Where H is not positive definite the answer is some point within the bounds: ask the pivots of `eliminate`.
    """
    newton = jnp.clip(_newton_step(H, q, jnp.zeros(q.shape, bool)), low, high)
    if q.shape[0] == 1:  # on a line the clipped minimum is the minimum
        return BoxQPSolution(newton, _clamped(newton, H @ newton + q, low, high))

    def unfinished(search: _Search) -> Bool[Array, ""]:
        return ~search.done & (search.steps < ITERATIONS)

    def improve(search: _Search) -> _Search:
        v = search.v
        gradient = H @ v + q
        step = _newton_step(H, gradient, search.clamped)
        step = jnp.where(search.clamped, 0, step)
        v_next = _backtrack(H, low, high, v, step, gradient)
        clamped, done = _look(v_next, H, q, low, high)
        return _Search(v_next, clamped, done | jnp.all(v_next == v), search.steps + 1)

    clamped, done = _look(newton, H, q, low, high)
    end = jax.lax.while_loop(unfinished, improve, _Search(newton, clamped, done, jnp.array(0)))
    return BoxQPSolution(end.v, end.clamped)


def _look(v, H, q, low, high) -> tuple[Bool[Array, "m"], Bool[Array, ""]]:
    """Which coordinates are clamped, and whether the others are at their minimum (up to rounding)."""
    gradient = H @ v + q
    clamped = _clamped(v, gradient, low, high)
    scale = jnp.abs(H) @ jnp.abs(v) + jnp.abs(q)
    rounding = 4 * v.shape[0] * jnp.finfo(v.dtype).eps
    return clamped, jnp.all(clamped | (jnp.abs(gradient) <= rounding * scale))


def _clamped(v, gradient, low, high) -> Bool[Array, "m"]:
    return ((v <= low) & (gradient > 0)) | ((v >= high) & (gradient < 0))


def _newton_step(H, gradient, clamped: Bool[Array, "m"]) -> Float[Array, "m"]:
    """`-inv(H) gradient` in the free coordinates; 0 in the clamped ones."""
    free = ~clamped
    within = free[:, None] & free[None]
    eye = jnp.eye(gradient.shape[0], dtype=H.dtype)
    rows, _ = eliminate(jnp.concatenate([jnp.where(within, H, eye), -(gradient * free)[:, None]], 1), range(len(free)))
    return rows[:, -1]


def _backtrack(H, low, high, v, step, gradient) -> Float[Array, "m"]:
    """The longest of the halved steps, projected, that decreases enough; `v` itself where none does."""
    sizes = 0.5 ** jnp.arange(HALVINGS, dtype=v.dtype)
    trials = jnp.clip(v[None] + sizes[:, None] * step[None], low[None], high[None])
    moves = trials - v[None]
    change = 0.5 * jnp.sum(moves * (moves @ H), axis=1) + moves @ gradient  # exact, without cancellation
    fine = change <= SUFFICIENT * (moves @ gradient)
    return jnp.where(jnp.any(fine), trials[jnp.argmax(fine)], v)
