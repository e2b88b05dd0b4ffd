from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.optimize

from forethought.core import Problem, Result
from forethought.planning.cem import CEM
from forethought.planning.icem import ICEM, ICEMState
from forethought.planning.mpc import MPC
from forethought.planning.mppi import MPPI
from forethought.planning.random_shooting import RandomShooting
from forethought.planning.validation import check_sampling
from tests.linear import Linear, QuadraticTask, double_integrator

T = 12
PLANNERS = {
    "cem": (CEM(horizon=T, population=300, elites=30, iterations=12, particles=1), 1.02),
    "icem": (ICEM(horizon=T, population=150, elites=15, iterations=12, decay=1.0, beta=1.0, particles=1), 1.02),
    "mppi": (
        MPPI(
            horizon=T,
            population=1000,
            iterations=12,
            temperature=0.02,
            noise=0.3,
            beta=0.0,
            control_cost=0.0,
            particles=1,
        ),
        1.05,
    ),
    "random": (RandomShooting(horizon=T, population=4000, hold=3, particles=1), 1.15),
}
X0 = jnp.array([1.0, 0.0])
make_plan = eqx.filter_jit(lambda planner, problem, state, key: planner.plan(problem, X0, state, key=key))


def optimum(problem, x0):
    """The best cost within the limits, by a dense convex solver."""
    A, B, task = np.asarray(problem.dynamics.A), np.asarray(problem.dynamics.B), problem.task

    def cost(us):
        x, total = np.asarray(x0, float), 0.0
        for u in us[:, None]:
            total += x @ x + task.effort * u @ u
            x = A @ x + B @ u
        return total + task.final * x @ x

    bounds = [(-task.limit, task.limit)] * T
    return scipy.optimize.minimize(cost, np.zeros(T), bounds=bounds, method="L-BFGS-B").fun


@pytest.mark.parametrize("name", PLANNERS)
@pytest.mark.parametrize("limit", [1.0, 10.0])
def test_planner_reaches_the_optimum(name, limit):
    planner, margin = PLANNERS[name]
    problem = Problem(double_integrator(), QuadraticTask(limit=limit, final=10.0))
    margin = margin if name in ("cem", "icem") or limit == 1.0 else 3.0  # ten times the range for as many samples
    plan, _ = make_plan(planner, problem, planner.init(problem), jr.key(0))
    best = optimum(problem, X0)
    assert best * (1 - 1e-4) <= plan.cost <= margin * best
    assert jnp.abs(plan.us).max() <= limit + 1e-5
    assert plan.xs.shape == (T + 1, 2) and int(plan.result) == Result.budget_exhausted  # no test of convergence


@pytest.mark.parametrize("name", PLANNERS)
def test_plans_are_deterministic_and_differ_by_key(name):
    planner, _ = PLANNERS[name]
    problem = Problem(double_integrator(0.1), QuadraticTask())
    plan = lambda key: make_plan(planner, problem, planner.init(problem), key)[0].us  # noqa: E731
    np.testing.assert_array_equal(plan(jr.key(0)), plan(jr.key(0)))
    assert not np.array_equal(plan(jr.key(0)), plan(jr.key(1)))


@pytest.mark.parametrize("name", PLANNERS)
def test_a_model_that_diverges_is_reported_and_actions_stay_finite(name):
    planner, _ = PLANNERS[name]
    problem = Problem(Linear(1e30 * jnp.eye(2), jnp.zeros((2, 1))), QuadraticTask())
    plan, _ = make_plan(planner, problem, planner.init(problem), jr.key(0))
    assert int(plan.result) == Result.not_finite
    assert jnp.isfinite(plan.policy.f).all()


@pytest.mark.parametrize("name", ["cem", "icem"])
def test_warm_start_is_the_plan_one_step_later(name):
    planner, _ = PLANNERS[name]
    problem = Problem(double_integrator(), QuadraticTask())
    plan, state = make_plan(planner, problem, planner.init(problem), jr.key(0))
    if name == "cem":
        np.testing.assert_allclose(state.mean[:-1], plan.us[1:], atol=0.05)
        np.testing.assert_array_equal(state.mean[-1], 0)
    else:
        np.testing.assert_allclose(state.elites[0, :-1], plan.us[1:], atol=0.3)
        np.testing.assert_array_equal(state.mean[-1], state.mean[-2])


def test_warm_start_helps():
    cheap = ICEM(horizon=T, population=24, elites=6, iterations=2, particles=1)
    problem = Problem(double_integrator(), QuadraticTask(final=10.0))
    state = cheap.init(problem)
    cold = [make_plan(cheap, problem, state, jr.key(i))[0].cost for i in range(5)]
    for i in range(6):  # at a fixed state: only the search goes on
        plan, state = make_plan(cheap, problem, state, jr.key(i))
    assert plan.cost < np.mean(cold)


def test_icem_population_decays_but_not_below_two_elites():
    planner = ICEM(population=64, decay=2.0, elites=10)
    assert [planner._population(i) for i in range(4)] == [64, 32, 20, 20]


class KeepTo(QuadraticTask):
    """Costs nothing where all actions are 0.3."""

    def cost(self, x, u, t):
        return (u[0] - 0.3) ** 2

    def final_cost(self, x):
        return jnp.zeros(())


def test_the_mean_is_a_candidate_of_icem_in_the_last_iteration_only():
    planner = ICEM(horizon=T, population=24, elites=6, iterations=2, decay=1.0, kept=0.0, particles=1)
    problem = Problem(double_integrator(), KeepTo())
    improve = eqx.filter_jit(lambda search, key: planner.improve(problem, X0, search, 0, key=key))
    mean = jnp.full((T, 1), 0.3)
    first = improve(planner.begin(problem, X0, ICEMState(mean, jnp.zeros((0, T, 1)))), jr.key(0))
    last = improve(eqx.tree_at(lambda s: s.mean, first, mean), jr.key(1))
    assert first.best.cost > 0.1
    np.testing.assert_allclose(last.best.us, mean, rtol=1e-6)


def test_mpc_steers_a_noisy_system_to_the_origin():
    problem = Problem(double_integrator(0.01), QuadraticTask())
    controller = MPC(CEM(horizon=T, population=60, elites=8, iterations=4, particles=2), problem)
    act = eqx.filter_jit(controller.act)
    x, carry = X0, controller.init(X0, key=jr.key(0))
    for t in range(60):
        u, carry = act(x, jnp.array(t), carry, key=jr.key(t))
        assert jnp.abs(u).max() <= 1.0
        x = problem.dynamics(x, u, t).sample(key=jr.key(1000 + t))
    assert jnp.linalg.norm(x) < 0.15


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: CEM(elites=500), "exceeds its population"),
        (lambda: CEM(momentum=1.0), "momentum"),
        (lambda: check_sampling(SimpleNamespace(propagation="ts2"), ()), "ts-inf, ts1, mean"),
        (lambda: ICEM(decay=0.5), "decay"),
        (lambda: ICEM(kept=2.0), "kept"),
        (lambda: RandomShooting(hold=0), "hold"),
    ],
)
def test_wrong_settings_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()
