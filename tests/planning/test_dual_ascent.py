"""Dual ascent on convex problems with known multipliers, and its limits: inactive constraints, no feasible point."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import NumericalFailure, Result
from forethought.planning.dual_ascent import Minimum, bracket_multiplier, dual_gradient_ascent

A = np.array([[1.0, 1.0], [2.0, -1.0]])
TARGET = np.array([2.0, 1.0])


def projection(b):
    """Minimize 0.5 |x - TARGET|^2 subject to A x <= b."""

    def minimize(lam):
        x = TARGET - A.T @ lam
        return Minimum(x, 0.5 * jnp.sum((x - TARGET) ** 2), A @ x - b)

    return minimize


@eqx.filter_jit
def ascend(b, start, step_size=0.25):
    return dual_gradient_ascent(projection(b), start, step_size=step_size, iterations=400, tolerance=1e-9)


def test_ascent_finds_the_known_multipliers_and_closes_the_gap():
    """Both constraints hold with equality: lam = inv(A A') (A TARGET - b)."""
    with jax.enable_x64(True):
        b = jnp.array([1.0, 0.5])
        known = np.linalg.solve(A @ A.T, A @ TARGET - np.asarray(b))
        solution = ascend(b, jnp.zeros(2))
        assert np.all(known > 0.1) and int(solution.result) == Result.converged
        np.testing.assert_allclose(solution.multiplier, known, atol=1e-6)
        np.testing.assert_allclose(solution.minimum.x, np.linalg.solve(A, b), atol=1e-6)
        history, last = solution.history, int(solution.iterations) - 1
        dual = np.asarray(history.dual[: last + 1])
        assert np.all(np.diff(dual) > -1e-12)  # concave function, steps below 2 / L
        np.testing.assert_allclose(dual[-1], solution.minimum.objective, atol=1e-6)
        assert np.all(dual <= 0.5 * np.sum((np.linalg.solve(A, b) - TARGET) ** 2) + 1e-9)  # weak duality
        assert np.all(np.isnan(history.dual[last + 1 :])) and last + 1 < 400
        gap = np.abs(history.primal - history.dual)[: last + 1]
        rate = np.abs(np.linalg.eigvals(np.eye(2) - 0.25 * A @ A.T)).max()  # of gradient ascent on a quadratic
        np.testing.assert_allclose(gap[31] / gap[30], rate, rtol=1e-2)


def test_inactive_constraints_have_multiplier_zero():
    with jax.enable_x64(True):
        solution = ascend(jnp.array([1.0, 100.0]), jnp.ones(2))
        np.testing.assert_allclose(solution.multiplier, [(TARGET.sum() - 1) / 2, 0], atol=1e-6)
        nothing = ascend(jnp.array([100.0, 100.0]), jnp.ones(2))
        assert int(nothing.result) == Result.converged and np.all(nothing.multiplier == 0)
        np.testing.assert_allclose(nothing.minimum.x, TARGET)


def test_failures_of_ascent_are_results():
    """x <= -1 and -x <= -1 has no solution; a NaN; too few iterations."""

    def minimize(lam):
        x = lam[1] - lam[0]
        return Minimum(x, 0.5 * x**2, jnp.stack([x + 1, 1 - x]))

    result = Result(
        int(jax.jit(lambda lam: dual_gradient_ascent(minimize, lam, step_size=0.1, iterations=100))(jnp.ones(2)).result)
    )
    assert result == Result.infeasible
    with pytest.raises(NumericalFailure, match="relax"):
        result.throw()
    with jax.enable_x64(True):
        assert int(ascend(jnp.array([jnp.nan, 1.0]), jnp.ones(2)).result) == Result.not_finite
        slow = ascend(jnp.array([1.0, 0.5]), jnp.zeros(2), step_size=1e-4)
        assert int(slow.result) == Result.budget_exhausted and int(slow.iterations) == 400


def ball(radius, start, **options):
    """Minimize c'x subject to |x|^2 <= radius^2: multiplier |c| / (2 radius), x = -radius c / |c|."""
    c = jnp.array([3.0, -4.0])

    def minimize(lam):
        x = -c / (2 * lam)
        return Minimum(x, c @ x, x @ x - radius**2)

    return bracket_multiplier(minimize, start, scale=radius**2, **options)


exact = eqx.filter_jit(lambda radius, start: ball(radius, start, tolerance=1e-9))


@pytest.mark.parametrize("start", [1e-8, 1.0, 1e9])
@pytest.mark.parametrize("radius", [1e-3, 2.0, 1e3])
def test_bracketing_finds_the_known_multiplier(radius, start):
    with jax.enable_x64(True):
        solution = exact(jnp.array(radius), jnp.array(start))
        assert int(solution.result) == Result.converged
        np.testing.assert_allclose(solution.multiplier, 5 / (2 * radius), rtol=1e-6)
        np.testing.assert_allclose(solution.minimum.x, [-0.6 * radius, 0.8 * radius], rtol=1e-6)
        used = np.asarray(solution.history.multiplier)[: int(solution.iterations)]
        assert used[0] == start and len(used) <= 12 + abs(np.log10(start * 2 * radius / 5))


def test_bracketing_stays_within_its_range_and_budget():
    """An inactive constraint, one that no multiplier satisfies, and a budget that ends inside the bracket."""
    loose = jax.jit(lambda r, lam: ball(r, lam, lowest=1e-2, highest=1e2))
    inactive = loose(jnp.array(1e6), jnp.array(1.0))
    assert int(inactive.result) == Result.converged and float(inactive.multiplier) == pytest.approx(1e-2)
    violated = loose(jnp.array(1e-6), jnp.array(1.0))
    assert int(violated.result) == Result.infeasible and float(violated.multiplier) == pytest.approx(1e2)
    short = jax.jit(lambda r, lam: ball(r, lam, tolerance=1e-9, iterations=4))(jnp.array(1.0), jnp.array(1.0))
    assert int(short.result) == Result.budget_exhausted and float(short.minimum.constraint) <= 0


def test_a_lagrangian_without_a_minimum_asks_for_a_larger_multiplier():
    """Minimize -x^2 + x subject to x^2 <= 4: unbounded below unless lam > 1; the solution is x = -2, lam = 1.25."""

    def minimize(lam):
        x = jnp.where(lam > 1, -1 / (2 * (lam - 1)), jnp.nan)
        return Minimum(x, x - x**2, x**2 - 4)

    solution = jax.jit(lambda lam: bracket_multiplier(minimize, lam, scale=4.0, tolerance=1e-4))(jnp.array(0.01))
    assert int(solution.result) == Result.converged
    np.testing.assert_allclose(solution.multiplier, 1.25, rtol=1e-4)
