import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem
from forethought.planning.anytime import AnytimePlanner, stage
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.icem import ICEM
from forethought.planning.mppi import MPPI
from forethought.planning.noise import quick_split
from forethought.planning.particles import expected_cost
from forethought.planning.random_shooting import RandomShooting
from tests.linear import QuadraticTask, double_integrator

T = 8
PLANNERS = {
    "cem": CEM(horizon=T, population=40, elites=8, iterations=3, particles=1),
    "icem": ICEM(horizon=T, population=30, elites=6, iterations=2, particles=1),
    "mppi": MPPI(
        horizon=T, population=40, iterations=3, temperature=1.0, noise=0.5, beta=0.0, control_cost=0.0, particles=1
    ),
    "random": RandomShooting(hold=1, horizon=T, population=30, particles=1),
    "gradient": GradientShooting(horizon=T, guesses=2, iterations=3, step=0.8),  # so long that the cost also rises
}
X0 = jnp.array([1.0, 0.0])
PROBLEM = Problem(double_integrator(), QuadraticTask(final=10.0))


begin = eqx.filter_jit(lambda planner: planner.begin(PROBLEM, X0, planner.init(PROBLEM)))
finish = eqx.filter_jit(lambda planner, search: planner.finish(PROBLEM, X0, search))


@jax.jit
def cost_of(us):
    return expected_cost(PROBLEM, X0, us[None], particles=1, propagation="mean", key=jr.key(0))[0]


@eqx.filter_jit
def improve(planner, search, i, key):
    return planner.improve(PROBLEM, X0, search, i, key=key)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_plan_is_its_iterations_one_by_one(name):
    planner = PLANNERS[name]
    assert isinstance(planner, AnytimePlanner)
    search = begin(planner)
    shapes = eqx.filter_eval_shape(lambda: search)
    keys = [jr.key(0)] if name == "random" else quick_split(jr.key(0), planner.iterations)
    for i, key in enumerate(keys):
        search = improve(planner, search, stage(planner, i), key)
        assert eqx.tree_equal(eqx.filter_eval_shape(lambda s=search: s), shapes)
    stepped, warm = finish(planner, search)
    whole, expected = eqx.filter_jit(planner.plan)(PROBLEM, X0, planner.init(PROBLEM), key=jr.key(0))
    np.testing.assert_allclose(stepped.us, whole.us, rtol=1e-5, atol=1e-6)
    for a, b in zip(jax.tree.leaves(warm), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PLANNERS)
def test_the_best_plan_never_gets_worse_and_its_cost_is_its_own(name):
    planner = PLANNERS[name]
    search = begin(planner)
    costs = []
    for i in range(6):
        search = improve(planner, search, stage(planner, i), jr.key(i))
        plan, _ = finish(planner, search)
        costs.append(float(plan.cost))
        again = cost_of(plan.us)
        np.testing.assert_allclose(plan.cost, again, rtol=1e-5)
    assert np.isfinite(costs).all() and (np.diff(costs) <= 0).all() and costs[-1] < costs[0]


def test_iterations_that_are_alike_share_a_stage():
    assert [stage(PLANNERS["cem"], i) for i in range(4)] == [0, 0, 0, 0]
    assert [stage(ICEM(population=64, elites=10, decay=1.5), i) for i in range(6)] == [0, 1, 2, 3, 3, 3]  # 64 42 28 20
    assert [stage(ICEM(decay=1.0), i) for i in range(4)] == [0, 0, 0, 0]
