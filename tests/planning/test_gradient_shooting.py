"""Gradient shooting reaches the dense optimum, keeps limits, and can be stopped."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem, Result
from forethought.planning.gradient_shooting import GradientShooting
from tests.linear import QuadraticTask, double_integrator
from tests.planning.test_planners import optimum

X0 = jnp.array([1.0, 0.0])
plan_from = eqx.filter_jit(lambda planner, problem, x0: planner.plan(problem, x0, planner.init(problem), key=jr.key(0)))


@pytest.mark.parametrize(("method", "limit"), [("adam", 1.0), ("l-bfgs", 1.0), ("l-bfgs", float("inf"))])
def test_reaches_the_optimum_within_the_limits(method, limit, dtype):
    system = jax.tree.map(lambda a: a.astype(dtype), double_integrator())
    problem = Problem(system, QuadraticTask(limit=limit, final=10.0))
    planner = GradientShooting(horizon=12, iterations=200 if method == "adam" else 40, method=method)
    plan, state = plan_from(planner, problem, X0.astype(dtype))
    best = optimum(problem, X0)
    assert best * (1 - 1e-4) <= plan.cost <= 1.005 * best
    assert jnp.abs(plan.us).max() <= limit and plan.us.dtype == dtype
    np.testing.assert_array_equal(state.us[:-1], plan.us[1:])


def test_the_best_is_kept_and_a_model_that_diverges_is_reported():
    problem = Problem(double_integrator(), QuadraticTask(final=10.0))
    planner = GradientShooting(horizon=12, step=0.8)  # too long: the cost goes up and down
    improve = eqx.filter_jit(lambda search: planner.improve(problem, X0, search, 0, key=jr.key(0)))
    search = planner.begin(problem, X0, planner.init(problem))
    costs = []
    for _ in range(20):
        search = improve(search)
        costs.append(float(search.cost))
    assert (np.diff(costs) <= 0).all() and (np.diff(costs) == 0).any()
    wild = Problem(jax.tree.map(lambda a: 1e30 * a, double_integrator()), QuadraticTask())
    plan, _ = plan_from(planner, wild, X0)
    assert int(plan.result) == Result.not_finite and jnp.isfinite(plan.policy.f).all()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [(lambda: GradientShooting(horizon=0), "horizon"), (lambda: GradientShooting(step=0.0), "positive")],
)
def test_wrong_settings_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
