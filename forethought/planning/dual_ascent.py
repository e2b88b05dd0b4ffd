"""Dual gradient descent: constrained minimization by gradient ascent on the multipliers of the constraints.

Problem: minimize f(x) subject to g(x) <= 0 [k].
    L(x, lam) = f(x) + lam'g(x)       the Lagrangian, with multipliers lam >= 0 [k]
    x(lam)    = argmin_x L(x, lam)    the caller's `minimize`: an unconstrained problem
    d(lam)    = L(x(lam), lam)        the dual function, concave, with gradient g(x(lam)); d(lam) <= f(x) if g(x) <= 0
At a solution of a convex problem that satisfies Slater's condition, f(x(lam)) = d(lam): the duality gap is closed, and
each constraint holds with equality or has multiplier 0.
    `dual_gradient_ascent` lam <- max(0, lam + step_size g(x(lam))), for any number of constraints
    `bracket_multiplier`   one constraint: g(x(lam)) decreases in lam > 0, and its root is bracketed on a log scale
Source: Boyd & Vandenberghe, Convex Optimization (2004), chapter 5; Boyd et al. (2011), "Distributed optimization and
statistical learning via the alternating direction method of multipliers", section 2.1; Chandrupatla (1997), "A new
hybrid quadratic/bisection algorithm for finding the zero of a nonlinear function without using derivatives".
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Result

NO_PROGRESS = 0.99  # ratio of the violations at the end and halfway above which a problem counts as infeasible
GROWTH = 10.0  # factor of the multiplier until its root is bracketed


class Minimum(eqx.Module):
    """The minimizer of the Lagrangian for one multiplier."""

    x: Any  # pytree of arrays
    objective: Float[Array, ""]  # f(x)
    constraint: Float[Array, "*k"]  # g(x)


class DualHistory(eqx.Module):
    """The values at each iteration, I at most; NaN after the last one."""

    multiplier: Float[Array, "I *k"]
    primal: Float[Array, "I"]  # f(x(lam)); a lower bound of the solution's where x(lam) is not feasible
    dual: Float[Array, "I"]  # d(lam), a lower bound of the minimum
    constraint: Float[Array, "I *k"]  # g(x(lam))


class DualSolution(eqx.Module):
    """The last multiplier, the minimizer for it, and how they were found."""

    minimum: Minimum
    multiplier: Float[Array, "*k"]
    iterations: Int[Array, ""]  # calls of `minimize`
    history: DualHistory
    result: Int[Array, ""]  # of core.Result


def dual_gradient_ascent(
    minimize: Callable[[Float[Array, "k"]], Minimum],
    start: Float[Array, "k"],
    *,
    step_size: Float[Array, "*k"] | float,
    iterations: int = 1000,
    tolerance: float = 1e-6,
) -> DualSolution:
    """Gradient ascent on the dual function, projected onto lam >= 0.

    Args:
        minimize: from multipliers to the minimizer of the Lagrangian.
        start: the first multipliers.
        step_size: of each multiplier.  The iteration converges if it is below 2 / L, for a dual function whose
            gradient has the Lipschitz constant L.
        iterations: most calls of `minimize`.
        tolerance: largest projected gradient, |lam - max(0, lam + g)|, of a solution, in the unit of g.
    Returns:
        the solution.  Its result is `infeasible` if the violation did not decrease in the second half of the
        iterations, `budget_exhausted` if it did, and `not_finite` if `minimize` returned NaN or infinity.
    """
    half = jnp.full((), jnp.nan, start.dtype)

    def step(carry):
        i, lam, _, history, _, half = carry
        found = minimize(lam)
        history = _recorded(history, i, lam, found)
        ascended = jnp.maximum(0, lam + step_size * found.constraint)
        residual = jnp.max(jnp.abs(lam - jnp.maximum(0, lam + found.constraint)))
        half = jnp.where(i == iterations // 2, jnp.max(found.constraint), half)
        stop = (
            (residual <= tolerance) | ~jnp.isfinite(residual) | ~jnp.isfinite(found.objective) | (i + 1 >= iterations)
        )
        return i + 1, jnp.where(stop, lam, ascended), found, history, (stop, residual), half

    first = _empty(minimize, start)
    carry = jnp.array(0), start, first, _no_history(first, start, iterations), (jnp.array(False), half), half
    i, lam, found, history, (_, residual), half = jax.lax.while_loop(lambda carry: ~carry[4][0], step, carry)
    violation = jnp.max(found.constraint)
    finite = jnp.isfinite(residual) & jnp.isfinite(found.objective)
    stuck = (violation > tolerance) & (violation > NO_PROGRESS * half)
    result = jnp.select(
        [~finite, residual <= tolerance, stuck],
        [int(Result.not_finite), int(Result.converged), int(Result.infeasible)],
        int(Result.budget_exhausted),
    )
    return DualSolution(found, lam, i, history, result)


def bracket_multiplier(
    minimize: Callable[[Float[Array, ""]], Minimum],
    start: Float[Array, ""],
    *,
    scale: Float[Array, ""] | float = 1.0,
    tolerance: Float[Array, ""] | float = 0.1,
    lowest: float = 1e-8,
    highest: float = 1e16,
    iterations: int = 50,
) -> DualSolution:
    """The multiplier of one constraint, by bracketing on a logarithmic scale.

    The multiplier changes by factors of 10 until its root is bracketed.  Then the root is interpolated, or the
    geometric mean of the bracket is tried where interpolation is not safe.

    Args:
        minimize: from the multiplier to the minimizer of the Lagrangian.  A constraint value that is not finite counts
            as violated; so a Lagrangian without a minimum needs a larger multiplier.
        start: the first multiplier, positive.
        scale: unit of g.
        tolerance: largest |g| / scale of a solution.
        lowest, highest: range of the multiplier.
        iterations: most calls of `minimize`.
    Returns:
        the solution: `converged` if |g| is within the tolerance, or g < 0 at `lowest` (the constraint is inactive).
        `budget_exhausted` is the feasible end of the bracket.  `infeasible` is the minimizer at the highest multiplier
        tried, which violates the constraint.
    """
    dtype = start.dtype
    unknown = jnp.array(jnp.nan, dtype)

    def step(carry):
        i, lam, kept, history, bracket, _, _ = carry
        found = minimize(lam)
        history = _recorded(history, i, lam, found)
        g = found.constraint / scale
        g = jnp.where(jnp.isfinite(g), g, jnp.inf)
        kept, kept_l, feasible = kept
        better = (g <= tolerance) | ~feasible
        kept = jax.tree.map(lambda a, b: jnp.where(better, a, b), (found, lam), (kept, kept_l))
        converged = (jnp.abs(g) <= tolerance) | ((g <= 0) & (lam <= lowest))
        stop = converged | ((g > 0) & (lam >= highest)) | (i + 1 >= iterations)
        bracket = _narrowed(bracket, lam, g)
        after = jnp.clip(_proposal(bracket, lam), lowest, highest)
        return i + 1, after, (*kept, feasible | (g <= tolerance)), history, bracket, stop, converged

    first = _empty(minimize, start)
    bracket = _Bracket(*[_Point(unknown, unknown)] * 3)
    kept = first, start, jnp.array(False)
    start = jnp.clip(start, lowest, highest)
    carry = (
        jnp.array(0),
        start,
        kept,
        _no_history(first, start, iterations),
        bracket,
        jnp.array(False),
        jnp.array(False),
    )
    i, _, kept, history, _, _, converged = jax.lax.while_loop(lambda carry: ~carry[5], step, carry)
    found, lam, feasible = kept
    violated = jnp.where(jnp.isfinite(found.constraint), int(Result.infeasible), int(Result.not_finite))
    result = jnp.select([converged, feasible], [int(Result.converged), int(Result.budget_exhausted)], violated)
    return DualSolution(found, lam, i, history, result)


class _Point(eqx.Module):
    """A multiplier that was tried; NaN if there is none yet."""

    log: Float[Array, ""]  # of the multiplier
    g: Float[Array, ""]  # inverse hyperbolic sine of the constraint, which spans many decades


class _Bracket(eqx.Module):
    """`latest` and `opposite` have constraints of different signs; `before` is the point that one of them replaced."""

    latest: _Point
    opposite: _Point
    before: _Point


def _narrowed(b: _Bracket, lam: Float[Array, ""], g: Float[Array, ""]) -> _Bracket:
    now = _Point(jnp.log(lam), jnp.arcsinh(g))
    same = ((now.g > 0) == (b.latest.g > 0)) | jnp.isnan(b.latest.g)
    opposite, before = jax.tree.map(lambda a, b: jnp.where(same, a, b), (b.opposite, b.latest), (b.latest, b.opposite))
    return _Bracket(now, opposite, before)


def _proposal(bracket: _Bracket, lam: Float[Array, ""]) -> Float[Array, ""]:
    """The next multiplier, by the method of Chandrupatla (1997) on the logarithm of the multiplier."""
    a, b, c = bracket.latest, bracket.opposite, bracket.before
    position, value = (a.log - b.log) / (c.log - b.log), (a.g - b.g) / (c.g - b.g)
    smooth = (value**2 < position) & ((1 - value) ** 2 < 1 - position)
    secant = a.g / (a.g - b.g)
    curved = (c.log - a.log) / (b.log - a.log) * a.g / (c.g - a.g) * b.g / (c.g - b.g)
    inverse_quadratic = secant * c.g / (c.g - b.g) + curved
    share = jnp.select([jnp.isnan(c.g), smooth], [secant, inverse_quadratic], 0.5)
    share = jnp.where((share > 0) & (share < 1), share, 0.5)
    grown = jnp.where(a.g > 0, lam * GROWTH, lam / GROWTH)
    return jnp.where(jnp.isnan(b.g), grown, jnp.exp(a.log + share * (b.log - a.log)))


def _empty(minimize: Callable[..., Minimum], start: Float[Array, "*k"]) -> Minimum:
    """A placeholder for the first minimum, so that `minimize` is compiled once."""
    return jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(minimize, start))


def _no_history(first: Minimum, start: Float[Array, "*k"], iterations: int) -> DualHistory:
    nans = lambda a: jnp.full((iterations, *a.shape), jnp.nan, a.dtype)  # noqa: E731
    return DualHistory(nans(start), nans(first.objective), nans(first.objective), nans(first.constraint))


def _recorded(history: DualHistory, i: Int[Array, ""], lam: Float[Array, "*k"], found: Minimum) -> DualHistory:
    dual = found.objective + jnp.sum(lam * found.constraint)
    return DualHistory(
        history.multiplier.at[i].set(lam),
        history.primal.at[i].set(found.objective),
        history.dual.at[i].set(dual),
        history.constraint.at[i].set(found.constraint),
    )
