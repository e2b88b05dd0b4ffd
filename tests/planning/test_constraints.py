"""Constraints against plain loops, known probabilities and other planners; plans that violate them; the backup."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.stats import norm

from forethought.core import Delta, DiagonalGaussian, Problem, Result
from forethought.core.constraints import has_constraints, risk_of, trajectory_excess
from forethought.core.delay import Delay
from forethought.planning.augmented_lagrangian import constraint_values
from forethought.planning.backup import WithBackup
from forethought.planning.candidates import INFEASIBLE, BestSequence
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.icem import ICEM
from forethought.planning.ilqr import ILQR
from forethought.planning.mpc import MPC
from forethought.planning.mppi import MPPI
from forethought.planning.particles import expected_cost
from forethought.planning.random_shooting import RandomShooting
from forethought.tasks.constrained import Constrained
from forethought.tasks.delayed_task import DelayedTask
from forethought.tasks.learned_task import FromObservation, LearnedTask
from tests.linear import Linear, QuadraticTask, double_integrator

T = 15
PLANNERS = {
    "random-shooting": RandomShooting(hold=5, horizon=T, population=4000, particles=1),
    "gradient-shooting": GradientShooting(horizon=T, guesses=4, iterations=200),
    "cem": CEM(horizon=T, population=300, elites=30, iterations=15, particles=1),
    "icem": ICEM(horizon=T, population=300, elites=30, iterations=15, particles=1),
    "mppi": MPPI(horizon=T, population=500, iterations=30, temperature=0.03, noise=0.3, particles=1),
    "ilqr": ILQR(horizon=T, starts=1, kept=1),
}
SPEED_LIMIT = 0.3
SLOW = Constrained(
    QuadraticTask(limit=1.0), lambda x, u, t: jnp.abs(x[1:]) - SPEED_LIMIT, lambda x: jnp.abs(x[1:]) - SPEED_LIMIT
)
START = jnp.array([1.0, 0.0])


class Certain(Linear):
    """The same without noise, which planners are told."""

    def __call__(self, x, u, t):
        return Delta(self.A @ x + self.B @ u)


SYSTEM = Certain(double_integrator().A, double_integrator().B)


@eqx.filter_jit
def plan_from(planner, problem, x0):
    return planner.plan(problem, x0, planner.init(problem), key=jr.key(0))[0]


def speeds(us, x0=START):
    x, out = np.asarray(x0, np.float64), []
    for u in np.asarray(us):
        x = np.asarray(SYSTEM.A) @ x + np.asarray(SYSTEM.B) @ u
        out.append(abs(x[1]))
    return np.array(out)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_plan_keeps_the_constraint_and_is_not_far_from_the_optimum(name):
    plan = plan_from(PLANNERS[name], Problem(SYSTEM, SLOW), START)
    free = plan_from(PLANNERS[name], Problem(SYSTEM, SLOW.base), START)
    assert np.max(speeds(free.us)) > 1.2 * SPEED_LIMIT  # without it, the optimum is faster
    assert np.max(speeds(plan.us)) <= SPEED_LIMIT + 1e-3
    assert Result(int(plan.result)).usable
    best = plan_from(PLANNERS["ilqr"], Problem(SYSTEM, SLOW), START)
    assert free.cost < plan.cost < (1.06 if name == "random-shooting" else 1.02) * best.cost  # it holds each action


@pytest.mark.parametrize("name", PLANNERS)
def test_where_nothing_keeps_the_constraint_the_plan_says_so_and_returns_to_it(name):
    plan = plan_from(PLANNERS[name], Problem(SYSTEM, SLOW), jnp.array([1.0, 0.9]))
    assert Result(int(plan.result)) == Result.infeasible
    fast = speeds(plan.us, [1.0, 0.9])
    assert fast[1] < fast[0] < 0.9 and np.min(fast) < SPEED_LIMIT + 0.02


def test_violations_of_a_trajectory_against_a_loop():
    task = Constrained(
        QuadraticTask(edge=2.0), lambda x, u, t: x - jnp.array([1.0, 0.5]) + 0.0 * t, lambda x: x[:1] - 1.5
    )
    key = jr.key(3)
    for i in range(20):
        xs = jnp.cumsum(0.7 * jr.normal(jr.fold_in(key, i), (9, 2)), axis=0)
        amount, violated, ended = 0.0, False, False
        for t in range(8):
            g = np.asarray(xs[t]) - [1.0, 0.5]
            amount, violated = amount + np.sum(np.maximum(g, 0)), violated or (g > 0).any()
            if abs(float(xs[t + 1, 0])) > 2.0 or t == 7:
                h = float(xs[t + 1, 0]) - 1.5
                amount, violated, ended = amount + max(h, 0), violated or h > 0, True
            if ended:
                break
        excess = trajectory_excess(task, xs, jnp.zeros((8, 1)), jnp.arange(8))
        assert bool(excess.violated) == violated
        np.testing.assert_allclose(excess.amount, amount, rtol=1e-5)


class Drift(eqx.Module):
    """x' = x + u + noise."""

    std: float = eqx.field(static=True)

    def __call__(self, x, u, t):
        return DiagonalGaussian(x + u, jnp.full_like(x, self.std))

    def draw(self, *, key):
        return self


class Free(QuadraticTask):
    def cost(self, x, u, t):
        return -u[0]


@pytest.mark.parametrize("propagation", ["ts-inf", "ts1"])
def test_the_risk_is_the_probability_of_any_violation(propagation):
    """One step of known noise: the candidate u is feasible where P(u + noise > 1) is at most the risk."""
    risk, std = 0.1, 0.2
    task = Constrained(Free(limit=9.0), lambda x, u, t: x - 1, lambda x: x - 1, risk)
    us = jnp.linspace(0.5, 1.0, 51)[:, None, None]
    both = [
        expected_cost(
            Problem(Drift(std), one), jnp.zeros(1), us, particles=4000, propagation=propagation, key=jr.key(0)
        )
        for one in (task, task.base)
    ]
    cost, free = both
    feasible = np.asarray(cost) < INFEASIBLE
    limit = 1 - std * norm.ppf(1 - risk)
    np.testing.assert_allclose(np.asarray(us[:, 0, 0])[feasible].max(), limit, atol=0.021)
    assert np.all(np.diff(np.asarray(cost)[~feasible][::5]) > 0)  # rarer and smaller violations are cheaper
    np.testing.assert_allclose(cost[feasible], free[feasible], rtol=1e-5)


@pytest.mark.parametrize("system", [Certain, Linear, "simulated"])
def test_only_the_first_steps_are_judged_where_so_many_are_given(system):
    """x' = x + 0.1 u from 0 with u = 1: above 0.25 from step 3 on, in the last state too."""
    A, B = jnp.eye(1), jnp.full((1, 1), 0.1)
    dynamics = Simulated(A, B) if system == "simulated" else system(A, B)
    for steps, kept in ((3, True), (4, False), (None, False)):
        task = Constrained(Free(), lambda x, u, t: x - 0.25, lambda x: x - 0.25, constraint_steps=steps)
        problem = Problem(dynamics, task, 5)
        us = jnp.ones((1, 6, 1))
        cost = expected_cost(problem, jnp.zeros(1), us, particles=1, propagation="mean", key=jr.key(0))
        assert (cost[0] < INFEASIBLE) == kept
    whole = Constrained(Free(), lambda x, u, t: x - 9, lambda x: x - 0.25, constraint_steps=6)
    cost = expected_cost(Problem(dynamics, whole), jnp.zeros(1), us, particles=1, propagation="mean", key=jr.key(0))
    assert cost[0] >= INFEASIBLE  # all steps: the last state too


class Simulated(Certain):
    def simulate(self, x0, us):
        xs = x0[None, None] + jnp.cumsum(us @ self.B.T, axis=1)
        return jnp.concatenate([jnp.broadcast_to(x0, (us.shape[0], 1, x0.shape[0])), xs], axis=1)


def test_without_risk_a_single_particle_decides():
    task = Constrained(Free(limit=9.0), lambda x, u, t: x - 1, lambda x: x - 1)
    us = jnp.array([0.0, 0.9])[:, None, None]
    cost = expected_cost(
        Problem(Drift(0.2), task), jnp.zeros(1), us, particles=200, propagation="ts-inf", key=jr.key(0)
    )
    assert risk_of(task) == 0 and cost[0] < INFEASIBLE <= cost[1] < jnp.inf


def test_not_a_number_violates():
    task = Constrained(Free(), lambda x, u, t: x * jnp.nan)
    cost = expected_cost(
        Problem(Drift(0.0), task), jnp.zeros(1), jnp.zeros((1, 3, 1)), particles=1, propagation="mean", key=jr.key(0)
    )
    assert cost[0] >= INFEASIBLE and jnp.isfinite(cost[0])


def test_a_feasible_sample_replaces_an_infeasible_center():
    center, sample = jnp.zeros((2, 1)), jnp.ones((2, 1))
    best = BestSequence(center, jnp.array(1.5 * INFEASIBLE)).or_else(sample, jnp.array(7.0))
    assert best.cost == 7 and best.us[0, 0] == 1
    assert BestSequence(center, jnp.array(9.0)).or_else(sample, jnp.array(7.0)).cost == 9


class Brake(eqx.Module):
    """A backup: the same action always."""

    def init(self, x0, *, key):
        return jnp.zeros((), int)

    def act(self, x, t, carry, *, key):
        return jnp.array([-0.77]), carry + 1


@pytest.mark.parametrize("learned", [False, True])
def test_the_backup_acts_exactly_where_no_plan_is_feasible(learned):
    planner = RandomShooting(hold=5, horizon=5, population=200, particles=1)
    task = LearnedTask(SLOW, None, True) if learned else SLOW
    dynamics = _Rewarded(SYSTEM) if learned else SYSTEM
    mpc = MPC(planner, Problem(dynamics, task))
    mpc = FromObservation(mpc) if learned else mpc
    controller = WithBackup(mpc, Brake())
    now = jnp.array(0)
    act = eqx.filter_jit(lambda x: controller.act(x, now, controller.init(x, key=jr.key(0)), key=jr.key(1)))
    alone = mpc.act(START, now, mpc.init(START, key=jr.key(0)), key=jr.key(1))[0]
    u, (_, count) = act(START)
    np.testing.assert_allclose(u, alone, rtol=1e-5)
    assert count == 1  # the backup sees every state
    np.testing.assert_allclose(act(jnp.array([1.0, 0.9]))[0], [-0.77])
    np.testing.assert_allclose(act(jnp.array([jnp.nan, 0.0]))[0], [-0.77])  # never a NaN


class _Rewarded(eqx.Module):
    """A system that predicts its reward too."""

    system: Certain

    def __call__(self, x, u, t):
        after = self.system(x[:-1], u, t).mean
        return Delta(jnp.append(after, -(x[:-1] @ x[:-1])))

    def draw(self, *, key):
        return self


def test_tasks_that_wrap_a_constrained_one_have_its_constraints():
    delay = Delay(2, 2, 1)
    x, u = jnp.array([1.0, 0.7]), jnp.zeros(1)
    for task, state in (
        (LearnedTask(SLOW, None, True), jnp.append(x, 9.0)),
        (LearnedTask(SLOW, None, False), x),
        (DelayedTask(SLOW, delay), jnp.concatenate([x, jnp.ones(2)])),
    ):
        assert has_constraints(task)
        np.testing.assert_allclose(task.constraint(state, u, jnp.array(0)), [0.4], rtol=1e-5)
        np.testing.assert_allclose(task.final_constraint(state), [0.4], rtol=1e-5)
    assert not has_constraints(LearnedTask(SLOW.base, None, False)) and not has_constraints(
        DelayedTask(SLOW.base, delay)
    )
    acted = Constrained(QuadraticTask(), lambda x, u, t: u - 0.5)
    np.testing.assert_allclose(
        DelayedTask(acted, delay).constraint(jnp.array([0, 0, 0.1, 0.8]), u, jnp.array(0)), [0.3], rtol=1e-5
    )


def test_a_task_has_constraints_or_not():
    assert has_constraints(SLOW) and not has_constraints(QuadraticTask())
    assert constraint_values(Problem(SYSTEM, QuadraticTask()), jnp.zeros((3, 2)), jnp.zeros((2, 1))) is None
    with pytest.raises(ValueError, match="probability"):
        Constrained(QuadraticTask(), lambda x, u, t: x, risk=1.0)


def test_constraints_see_the_start_time():
    task = Constrained(QuadraticTask(), lambda x, u, t: jnp.atleast_1d(x[0] - t))
    problem = Problem(double_integrator(), task)
    for t0 in (0, 7):
        values = constraint_values(problem.starting_at(t0), jnp.zeros((3, 2)), jnp.zeros((2, 1)))
        np.testing.assert_array_equal(values.stage[:, 0], [-t0, -t0 - 1])
