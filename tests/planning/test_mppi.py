import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem
from forethought.planning.mppi import MPPI, MPPIState, weights
from forethought.planning.noise import color_filter, quick_split
from forethought.planning.particles import expected_cost
from tests.linear import QuadraticTask, double_integrator

T = 4


@eqx.filter_jit
def last_mean(planner, problem, x0):
    """The mean of the sampling distribution after all iterations."""
    search = planner.begin(problem, x0, planner.init(problem))
    step = lambda search, key: (planner.improve(problem, x0, search, 0, key=key), None)  # noqa: E731
    return jax.lax.scan(step, search, jr.split(jr.key(0), planner.iterations))[0].mean


make_plan = eqx.filter_jit(
    lambda planner, problem, x0, state, key: planner.plan(problem, jnp.asarray(x0), state, key=key)
)


def quadratic_of(problem, x0):
    """S(us) = 0.5 us'H us + g'us + const of a linear system, from its values at unit actions."""
    A, B, task = np.asarray(problem.dynamics.A, float), np.asarray(problem.dynamics.B, float), problem.task

    def cost(us):
        x, total = np.asarray(x0, float), 0.0
        for u in us:
            total += x @ x + task.effort * u * u
            x = A @ x + B[:, 0] * u
        return total + task.final * x @ x

    unit, zero = np.eye(T), cost(np.zeros(T))
    g = np.array([(cost(e) - cost(-e)) / 2 for e in unit])
    H = np.array([[cost(a + b) - cost(a) - cost(b) + zero for b in unit] for a in unit])
    return H, g


@pytest.mark.parametrize(("beta", "temperature"), [(0.0, 0.5), (1.0, 5.0)])
def test_mean_is_that_of_the_optimal_density(beta, temperature, dtype):
    """exp(-S / lambda) N(0, Sigma) is a Gaussian whose mean is known; limits are far away."""
    problem = Problem(double_integrator(), QuadraticTask(limit=40.0, effort=0.05, final=10.0))
    problem = eqx.tree_at(lambda p: p.dynamics.A, problem, problem.dynamics.A.astype(dtype))
    x0 = jnp.array([2.0, -1.0], dtype)
    planner = MPPI(T, 20_000, 12, temperature, noise=0.025, beta=beta, particles=1)
    mean = last_mean(planner, problem, x0)
    H, g = quadratic_of(problem, x0)
    C = color_filter(T, beta)
    expected = np.linalg.solve(np.linalg.inv(C @ C.T) + H / temperature, -g / temperature)
    np.testing.assert_allclose(mean[:, 0], expected, atol=0.04)
    assert np.abs(expected).max() > 0.15


def test_without_the_likelihood_ratio_iterations_go_to_the_optimum():
    problem = Problem(double_integrator(), QuadraticTask(limit=40.0, effort=0.05, final=10.0))
    planner = MPPI(T, 4000, 40, 0.5, noise=0.025, beta=0.0, control_cost=0.0, particles=1)
    plan, _ = make_plan(planner, problem, jnp.array([2.0, -1.0]), planner.init(problem), jr.key(0))
    H, g = quadratic_of(problem, [2.0, -1.0])
    np.testing.assert_allclose(plan.us[:, 0], np.linalg.solve(H, -g), atol=0.1)


def test_weights_are_those_of_the_definition():
    costs = np.array([3.0, 1.0, np.inf, 700.0, 2.0])
    naive = np.exp(-costs)
    np.testing.assert_allclose(weights(jnp.asarray(costs, jnp.float32)), naive / naive.sum(), rtol=1e-5, atol=1e-30)
    shifted = weights(jnp.asarray(costs + 5000, jnp.float32))
    np.testing.assert_allclose(shifted, naive / naive.sum(), rtol=1e-3, atol=1e-30)  # no underflow of all of them


PROBLEM = Problem(double_integrator(), QuadraticTask(limit=1.0, final=10.0))
X0 = jnp.array([1.0, 0.0])


def one_iteration(temperature, noise=0.5, beta=0.0):
    """The mean after one iteration, and the samples [S, T, m] that it was made of."""
    planner = MPPI(T, 64, 1, temperature, noise, beta, control_cost=0.0, particles=1)
    start = MPPIState(jnp.full((T, 1), 0.1))
    after = eqx.filter_jit(planner.improve)(PROBLEM, X0, planner.begin(PROBLEM, X0, start), 0, key=jr.key(3))
    white = planner._white(start.mean, key=quick_split(jr.key(3), 2)[0])
    assert jnp.all(white[:, 0] == 0)  # the first candidate is the mean
    us = jnp.clip(start.mean[:, None] + noise * planner._colored(white), -1, 1)
    return after.mean, jnp.moveaxis(us, 1, 0)


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_a_temperature_near_zero_picks_the_best_sample(beta):
    mean, us = one_iteration(1e-6, beta=beta)
    costs = expected_cost(PROBLEM, X0, us, particles=1, propagation="mean", key=jr.key(0))
    np.testing.assert_allclose(mean, us[jnp.argmin(costs)], atol=1e-5)


def test_a_high_temperature_averages_all_samples():
    mean, us = one_iteration(1e9)
    np.testing.assert_allclose(mean, jnp.mean(us, axis=0), atol=1e-5)


class Away(QuadraticTask):
    """Pays for leaving the origin, to either side."""

    def final_cost(self, x):
        return -10 * x[0] ** 2

    def cost(self, x, u, t):
        return jnp.zeros(())


def test_a_symmetric_problem_is_decided_for_one_side():
    problem = Problem(double_integrator(), Away())
    planner = MPPI(20, 200, 8, 0.05, noise=0.5, beta=0.0, control_cost=0.0, particles=1)
    plan, _ = make_plan(planner, problem, jnp.zeros(2), planner.init(problem), jr.key(0))
    assert jnp.abs(jnp.mean(plan.us)) > 0.6


def test_mean_and_samples_stay_within_the_limits():
    planner = MPPI(12, 200, 5, 0.01, noise=3.0, beta=0.0, control_cost=0.0, particles=1)
    plan, state = make_plan(planner, PROBLEM, jnp.array([50.0, 0.0]), planner.init(PROBLEM), jr.key(0))
    assert jnp.abs(plan.us).max() <= 1.0
    assert plan.us[:4].max() < -0.9  # as hard as allowed
    np.testing.assert_array_equal(state.mean[-1], state.mean[-2])
    assert jnp.abs(state.mean).max() <= 1.0


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"noise": -1.0}, {"beta": -1.0}, {"control_cost": 2.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MPPI(**wrong)
