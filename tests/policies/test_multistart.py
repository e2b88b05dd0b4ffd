"""Searches must find minima, keep the best point, and survive costs that are not finite."""

import jax
import numpy as np
import pytest

from forethought.policies.multistart import descend, screened_search, search


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def valley(at):
    """Rosenbrock's, with its minimum 0 at (1, 1), of a pytree."""
    x, y = float(at["x"]), float(at["y"][0])
    gradient = {"x": -400 * x * (y - x**2) - 2 * (1 - x), "y": np.array([200 * (y - x**2)])}
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2, {name: np.asarray(g) for name, g in gradient.items()}


START = {"x": np.float64(-1.2), "y": np.array([1.0])}


def test_the_minimum_is_found_and_reported():
    found = descend(valley, START, evaluations=200)
    assert found.converged and found.cost < 1e-8
    np.testing.assert_allclose([found.at["x"], found.at["y"][0]], 1, atol=1e-3)


def test_a_budget_is_kept_and_the_best_point_returned():
    seen = []

    def watched(at):
        value, gradient = valley(at)
        seen.append(value)
        return value, gradient

    found = descend(watched, START, evaluations=7)
    assert len(seen) == found.evaluations <= 8 and not found.converged
    np.testing.assert_allclose([found.cost, valley(found.at)[0]], min(seen), rtol=1e-5)


def test_without_a_budget_the_start_comes_back():
    found = descend(valley, START, evaluations=0)
    assert found.cost == np.inf and found.evaluations == 0 and not found.converged
    np.testing.assert_array_equal(found.at["x"], START["x"])


def test_limits_are_kept():
    def bowl(at):
        return float((at - 3) @ (at - 3)), 2 * (np.asarray(at) - 3)

    found = descend(bowl, np.zeros(2), evaluations=100, limits=(np.array([-1.0, -1.0]), np.array([1.0, 5.0])))
    np.testing.assert_allclose(found.at, [1, 3], atol=1e-6)


def test_a_start_where_the_cost_is_nearly_flat_is_left():
    """1 - exp(-|x|^2 / 2) at 7: the slope is 1e-10."""

    def saturating(at):
        depth = np.exp(-0.5 * float(at @ at))
        return 1 - depth, depth * np.asarray(at)

    for limits in (None, (np.full(2, -20.0), np.full(2, 20.0))):
        found = descend(saturating, np.array([5.0, 5.0]), evaluations=100, limits=limits)
        assert found.cost < 1e-6


def test_a_start_with_a_zero_gradient_is_returned():
    found = descend(lambda at: (41.0, np.zeros(2)), np.array([1.0, 2.0]), evaluations=10)
    assert found.cost == 41 and found.evaluations < 10
    np.testing.assert_array_equal(found.at, [1, 2])


def test_each_start_has_its_own_limits():
    starts = [np.array([30.0]), np.array([-30.0])]
    found = search(
        lambda at: (float(at @ at), 2 * np.asarray(at)), starts, evaluations=50, limits=lambda at: (at - 10, at + 10)
    )
    assert sorted(float(one.at[0]) for one in found) == [-20, 20]


def test_a_search_that_reaches_a_cost_that_is_not_finite_is_restarted():
    def cliff(at):
        return valley(at) if float(at["x"]) < 1.05 and abs(float(at["y"][0])) < 3 else (np.nan, at)

    assert descend(cliff, START, evaluations=300).cost < 1e-6


def test_nothing_finite_gives_the_start_and_an_infinite_cost():
    found = descend(lambda at: (np.nan, at), START, evaluations=10)
    assert found.cost == np.inf and found.evaluations == 1
    np.testing.assert_allclose(found.at["x"], START["x"], rtol=1e-6)


@pytest.mark.parametrize("first", [0, 1])
def test_the_best_of_several_starts_comes_first(first):
    """A double well, one side lower: whichever comes first, the lower wins and is named."""

    def wells(at):
        x = float(at)
        return (x**2 - 1) ** 2 + 0.3 * x, np.asarray(4 * x * (x**2 - 1) + 0.3)

    starts = [np.float64(1.2), np.float64(-1.2)]
    starts = starts if first == 0 else starts[::-1]
    found = search(wells, starts, evaluations=30)
    assert found[0].cost < found[1].cost and found[0].at < 0
    assert found[0].start == 1 - first


def test_a_line_search_that_fails_is_restarted():
    """For some evaluations the gradient has the wrong sign: L-BFGS stops there."""
    calls = []

    def misleading(at):
        calls.append(1)
        value, gradient = valley(at)
        sign = -1 if 6 < len(calls) < 40 else 1
        return value, {name: sign * g for name, g in gradient.items()}

    assert descend(misleading, START, evaluations=400).cost < 1e-6
    assert len(calls) <= 401


def bowls(calls, name):
    """1 - exp(-distance^2 / 2) from -3 (depth 1) and from 3 (depth 2); counts calls."""

    def objective(at):
        calls.append(name)
        x, depth = float(at), np.array([1.0, 2.0])
        height = depth * np.exp(-0.5 * (x - np.array([-3.0, 3.0])) ** 2)
        return 3 - height.sum(), np.asarray((height * (x - np.array([-3.0, 3.0]))).sum())

    return objective


STARTS = [np.float64(-2.5), np.float64(2.0), np.float64(-9.0)]


def test_only_finalists_are_searched_further():
    calls = []
    found = screened_search(
        bowls(calls, "screening"), bowls(calls, "final"), STARTS, screening_evaluations=4, finalists=1, evaluations=30
    )
    assert (
        found.start == 1
        and found.cost == pytest.approx(1.0, abs=1e-6)
        and float(found.at) == pytest.approx(3, abs=1e-3)
    )
    screening = calls.count("screening")  # L-BFGS may finish a line search that is under way
    assert 3 <= screening <= 3 * 6 and 0 < calls.count("final") <= 31
    assert found.evaluations == len(calls)


def test_screening_ranks_by_its_own_objective():
    """It is that of the mirror image: its best start is the one near -3."""
    calls = []

    def mirrored(at):
        value, gradient = bowls(calls, "screening")(-np.asarray(at))
        return value, -gradient

    found = screened_search(
        mirrored, bowls(calls, "final"), STARTS, screening_evaluations=4, finalists=1, evaluations=30
    )
    assert found.start == 0 and float(found.at) == pytest.approx(-3, abs=1e-3)


def test_a_single_start_is_not_screened():
    calls = []
    more = {"screening_evaluations": 4, "finalists": 2, "evaluations": 30}
    found = screened_search(bowls(calls, "screening"), bowls(calls, "final"), STARTS[:1], **more)
    assert "screening" not in calls and found.start == 0
