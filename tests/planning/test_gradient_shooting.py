"""Gradient shooting reaches the dense optimum, keeps limits, and can be stopped."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem, Result, UsageError
from forethought.planning.gradient_shooting import GradientShooting, sinusoids
from tests.linear import Linear, QuadraticTask, double_integrator
from tests.planning.test_planners import optimum

X0 = jnp.array([1.0, 0.0])
plan_from = eqx.filter_jit(lambda planner, problem, x0: planner.plan(problem, x0, planner.init(problem), key=jr.key(0)))


@pytest.mark.parametrize(("method", "limit"), [("adam", 1.0), ("l-bfgs", 1.0), ("l-bfgs", float("inf"))])
def test_reaches_the_optimum_within_the_limits(method, limit, dtype):
    system = jax.tree.map(lambda a: a.astype(dtype), double_integrator())
    problem = Problem(system, QuadraticTask(limit=limit, final=10.0))
    planner = GradientShooting(horizon=12, guesses=1, iterations=200 if method == "adam" else 40, method=method)
    plan, state = plan_from(planner, problem, X0.astype(dtype))
    best = optimum(problem, X0)
    assert best * (1 - 1e-4) <= plan.cost <= 1.005 * best
    assert jnp.abs(plan.us).max() <= limit and plan.us.dtype == dtype
    np.testing.assert_array_equal(state.us[0, :-1], plan.us[1:])


def test_a_model_that_diverges_is_reported_and_actions_stay_finite():
    wild = Problem(jax.tree.map(lambda a: 1e30 * a, double_integrator()), QuadraticTask())
    for method in ("adam", "l-bfgs"):
        plan, state = plan_from(GradientShooting(horizon=12, guesses=1, iterations=3, method=method), wild, X0)
        assert int(plan.result) == Result.not_finite
        assert jnp.isfinite(plan.policy.f).all() and jnp.isfinite(state.us).all()


class TwoValleys(QuadraticTask):
    """A shallow minimum at a small last position, the deep one on the far side of a hill."""

    def cost(self, x, u, t):
        return jnp.zeros(())

    def final_cost(self, x):
        return -jnp.exp(-(((x[0] + 0.4) / 0.2) ** 2)) - 0.1 * jnp.exp(-(((x[0] - 0.1) / 0.2) ** 2))


def test_several_guesses_find_the_better_of_two_minima():
    problem, x0 = Problem(double_integrator(), TwoValleys()), jnp.zeros(2)
    costs = {
        n: float(plan_from(GradientShooting(horizon=12, guesses=n, iterations=100), problem, x0)[0].cost)
        for n in (1, 5)
    }
    assert costs[1] > -0.2 and costs[5] < -0.95


def test_guesses_differ_between_sequences_and_between_actions():
    waves = sinusoids(5, 20, 2)
    assert waves.shape == (5, 20, 2) and np.all(waves[0] == 0) and np.abs(waves).max() <= 1
    flat = waves[1:].reshape(4, -1)
    assert np.linalg.matrix_rank(flat[::2]) == 2
    np.testing.assert_array_equal(flat[0], -flat[1])  # of either sign
    assert not np.allclose(waves[1, :, 0], waves[1, :, 1])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GradientShooting(horizon=0), "horizon"),
        (lambda: GradientShooting(guesses=0), "guesses"),
        (lambda: GradientShooting(step=0.0), "positive"),
    ],
)
def test_wrong_settings_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


class Simulator(Linear):
    """Dynamics that only simulate."""

    def simulate(self, x0, us):
        shape = jax.ShapeDtypeStruct((us.shape[0], us.shape[1] + 1, x0.shape[0]), x0.dtype)
        return jax.pure_callback(lambda *_: np.zeros(shape.shape, shape.dtype), shape, x0, us)


def test_a_simulator_without_derivatives_is_refused_with_the_planners_that_need_none():
    base = double_integrator()
    with pytest.raises(UsageError, match="cem, icem, mppi, random-shooting; ilqr"):
        GradientShooting().init(Problem(Simulator(base.A, base.B), QuadraticTask()))
