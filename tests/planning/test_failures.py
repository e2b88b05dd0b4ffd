"""Planners where few candidates, or none, have a finite cost."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem, Result
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.icem import ICEM
from forethought.planning.mpc import MPC
from forethought.planning.mppi import MPPI
from forethought.planning.random_shooting import RandomShooting
from tests.linear import QuadraticTask, double_integrator

T = 6
SAMPLING = {
    "cem": CEM(horizon=T, population=300, elites=30, iterations=3, particles=1),
    "icem": ICEM(horizon=T, population=300, elites=30, iterations=3, decay=1.0, beta=0.0, particles=1),
    "mppi": MPPI(horizon=T, population=300, iterations=3, temperature=1.0, noise=0.5, beta=0.0, particles=1),
    "random": RandomShooting(hold=1, horizon=T, population=300, particles=1),
}
PLANNERS = SAMPLING | {"gradient": GradientShooting(horizon=T, guesses=1, iterations=3)}
X0 = jnp.array([1.0, 0.0])


class NarrowGate(QuadraticTask):
    """Only first actions between 0.46 and 0.54 have a finite cost: 4% of samples."""

    def cost(self, x, u, t):
        return jnp.where((t == 0) & (jnp.abs(u[0] - 0.5) > 0.04), jnp.inf, super().cost(x, u, t))


@pytest.mark.parametrize("name", SAMPLING)
def test_the_plan_is_feasible_if_any_sample_is(name):
    problem, planner = Problem(double_integrator(), NarrowGate()), SAMPLING[name]
    plan = jax.jit(jax.vmap(lambda key: planner.plan(problem, X0, planner.init(problem), key=key)[0]))
    plans = plan(jr.split(jr.key(0), 12))
    assert (plans.result == Result.budget_exhausted).all() and jnp.isfinite(plans.cost).all()
    assert (jnp.abs(plans.policy.f[:, 0, 0] - 0.5) <= 0.04).all()


class Broken(QuadraticTask):
    """The cost is NaN in the half-space x[0] > 5."""

    def cost(self, x, u, t):
        return jnp.where(x[0] > 5, jnp.nan, super().cost(x, u, t))


@pytest.mark.parametrize("name", PLANNERS)
def test_without_a_finite_cost_the_last_plan_goes_on(name):
    planner, problem = PLANNERS[name], Problem(double_integrator(), Broken(final=10.0))
    plan_from = eqx.filter_jit(lambda x, state, key: planner.plan(problem, x, state, key=key))
    at_first, _ = plan_from(jnp.array([9.0, 0.0]), planner.init(problem), jr.key(0))
    assert int(at_first.result) == Result.not_finite
    np.testing.assert_array_equal(at_first.us, jnp.zeros((T, 1)))  # the middle of the action range
    _, state = plan_from(X0, planner.init(problem), jr.key(1))
    lost, after = plan_from(jnp.array([9.0, 0.0]), state, jr.key(2))
    assert int(lost.result) == Result.not_finite
    warm = {"random": lambda: state.us, "gradient": lambda: state.us[0]}.get(name, lambda: state.mean)()
    np.testing.assert_allclose(lost.us, warm, atol=1e-6)
    assert jnp.abs(lost.us).max() > 0.01
    for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True):  # shifted, not spoiled
        np.testing.assert_allclose(a[..., :-2, :], b[..., 1:-1, :], atol=1e-6)
    again, _ = plan_from(X0, after, jr.key(3))
    assert int(again.result) == Result.budget_exhausted


def test_mpc_acts_on_the_last_good_plan():
    planner, problem = SAMPLING["cem"], Problem(double_integrator(), Broken(final=10.0))
    controller = MPC(planner, problem)
    act = eqx.filter_jit(controller.act)
    u, carry = act(jnp.array([9.0, 0.0]), jnp.array(0), controller.init(X0, key=jr.key(0)), key=jr.key(0))
    assert u[0] == 0
    _, carry = act(X0, jnp.array(1), carry, key=jr.key(1))
    u, _ = act(jnp.array([9.0, 0.0]), jnp.array(2), carry, key=jr.key(2))
    assert u[0] == carry.mean[0, 0] != 0
