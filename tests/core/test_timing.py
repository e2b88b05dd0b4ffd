"""The timing of costs, rewards and ends, against a loop over the rule of an environment.

The environment: o' = o + u; each step has reward -1 - 0.1 u^2; the step that reaches o' >= 3 ends the episode and adds
the bonus (100 or -100).  Reward and end are each known as a function, learned, or simulated (coordinates of the state).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Delta, DiagonalGaussian, Problem, UsageError, alive, step_cost, trajectory_costs
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.planning.expansion import expand
from forethought.planning.ilqr import ILQR
from forethought.planning.particles import expected_cost, predicted_states, trajectory_cost
from forethought.planning.rollout import follow, stage_costs
from forethought.tasks.function_task import FunctionTask
from forethought.tasks.learned_task import LearnedTask
from forethought.tasks.simulated_task import SimulatedTask
from tests.linear import QuadraticTask, double_integrator

T = 5
PLANS = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 0, 0, 0.5], [1, 1, 1, -1, -1], [-1, 1, 1, 1, 1]], float)
GOAL = 2.99


def real_return(us, bonus):
    """The rule itself, in plain Python."""
    o, total = 0.0, 0.0
    for u in us:
        o += u
        total += -1 - 0.1 * u**2 + (bonus if o >= GOAL else 0.0)
        if o >= GOAL:
            break
    return total


def reward_of(o, u, bonus):
    return -1 - 0.1 * u**2 + jnp.where(o + u >= GOAL, bonus, 0)


class Rule(eqx.Module):
    """The functions that a user would write, and a model of the environment without error."""

    bonus: jax.Array
    reward: bool = eqx.field(static=True)  # whether the reward is an output of the model

    def __call__(self, z):
        change = [z[1], reward_of(z[0], z[1], self.bonus)] if self.reward else [z[1]]
        return Delta(jnp.stack(change))

    def draw(self, *, key):
        return self


class LogOdds(eqx.Module):
    def __call__(self, o):
        return DiagonalGaussian(jnp.where(o[:1] >= GOAL, 1.0, -1.0), jnp.zeros(1))

    def draw(self, *, key):
        return self


class Simulator(eqx.Module):
    """States [o; r; done], at rest after the end."""

    bonus: jax.Array
    ends: bool = eqx.field(static=True)

    def __call__(self, x, u, t):
        over = x[2] > 0.5
        o = jnp.where(over, x[0], x[0] + u[0])
        done = (o >= GOAL) & self.ends
        return Delta(jnp.stack([o, jnp.where(over, 0, reward_of(x[0], u[0], self.bonus)), done.astype(x.dtype)]))

    def draw(self, *, key):
        return self


class Base(QuadraticTask):
    """A task whose functions know the rule."""

    bonus: jax.Array = eqx.field(default=0.0, converter=jnp.asarray)

    def cost(self, x, u, t):
        return -reward_of(x[0], u[0], self.bonus)

    def final_cost(self, x):
        return jnp.zeros(())

    def terminal(self, x):
        return x[0] >= GOAL


def learned(bonus, reward, end):
    base = Base(bonus=bonus)
    termination = LogOdds() if end == "learned" else None
    dynamics = LearnedDynamics(Rule(bonus, reward == "learned"), StateSpace(1), int(reward == "learned"))
    return Problem(dynamics, LearnedTask(base, termination, reward == "learned"))


def at_rest(seed):
    return np.zeros(3)


def simulated(bonus, reward, end):
    cost = None if reward == "simulated" else lambda x, u: -reward_of(x[0], u[0], float(bonus))
    termination = None if end == "simulated" else lambda x: x[0] >= GOAL
    base = FunctionTask(T, 1.0, Box.symmetric(jnp.ones(1)), cost, termination)
    return Problem(Simulator(bonus, end == "simulated"), SimulatedTask(base, 1, True, at_rest))


SOURCES = [
    *((learned, reward, end) for reward in ("known", "learned") for end in ("known", "learned")),
    *((simulated, *both) for both in (("simulated", "simulated"), ("simulated", "known"), ("known", "simulated"))),
]


@eqx.filter_jit
def every_cost(problem, x0, us):
    """By particles of each kind, along the predicted states, and along the states that iLQR follows."""
    particles = [
        expected_cost(problem, x0, us, particles=1, propagation=propagation, key=jr.key(0))
        for propagation in ("ts-inf", "ts1", "mean")
    ]
    xs = jax.vmap(lambda us: predicted_states(problem, x0, us))(us)
    along = jax.vmap(lambda xs, us: trajectory_cost(problem, xs, us))(xs, us)
    followed = lambda us: jnp.sum(stage_costs(problem, *follow(problem, x0, lambda _, i: us[i], len(us))))  # noqa: E731
    return *particles, along, jax.vmap(followed)(us)


@pytest.mark.parametrize(("make", "reward", "end"), SOURCES)
def test_every_planner_charges_what_the_rule_charges(make, reward, end):
    """The step that ends an episode is charged in full, and nothing after it."""
    us = jnp.asarray(PLANS, jnp.float32)[..., None]
    for bonus in (100.0, -100.0):
        problem = make(jnp.array(bonus), reward, end)
        expected = [-real_return(plan, bonus) for plan in PLANS]
        x0 = jnp.zeros(3 if make is simulated else 1 + (reward == "learned"))
        for costs in every_cost(problem, x0, us):
            np.testing.assert_allclose(costs, expected, rtol=1e-5)


class Squares(eqx.Module):
    """A double integrator that also predicts its reward, minus the quadratic cost of x and u: y = [x' - x; r]."""

    def __call__(self, z):
        x, u, system = z[:2], z[2:], double_integrator()
        return Delta(jnp.append(system(x, u, 0).mean - x, -QuadraticTask().cost(x, u, 0)))

    def draw(self, *, key):
        return self


def test_ilqr_finds_the_optimum_of_a_learned_reward():
    """A cost that is known only after the step is expanded through the dynamics; the optimum by a dense solve."""
    horizon, x0 = 6, np.array([1.0, 0.5])
    problem = Problem(LearnedDynamics(Squares(), StateSpace(2), 1), LearnedTask(QuadraticTask(limit=9.0), None, True))
    settings = ILQR(starts=1, horizon=horizon, second_order=True)
    plan, _ = jax.jit(lambda x: settings.plan(problem, x, settings.init(problem), key=jr.key(0)))(jnp.array([*x0, 0]))
    A, B, effort = np.array(double_integrator().A), np.array(double_integrator().B), QuadraticTask().effort
    free = np.concatenate([np.linalg.matrix_power(A, t) @ x0 for t in range(horizon)])
    moved = np.zeros((2 * horizon, horizon))
    for t in range(horizon):
        for s in range(t):
            moved[2 * t : 2 * t + 2, s] = (np.linalg.matrix_power(A, t - s - 1) @ B)[:, 0]
    us = -np.linalg.solve(moved.T @ moved + effort * np.eye(horizon), moved.T @ free)
    np.testing.assert_allclose(plan.us[:, 0], us, atol=1e-3)
    assert plan.cost == pytest.approx(np.sum((free + moved @ us) ** 2) + effort * us @ us, rel=1e-5)


class Both(QuadraticTask):
    """Costs x0 u before the step, and (x'_0)^3 + x'_1 u after it."""

    def step_cost(self, x, u, x_next, t):
        return x[0] * u[0] + x_next[0] ** 3 + x_next[1] * u[0]


def test_a_cost_after_the_step_is_expanded_through_the_dynamics():
    """Gradient and Hessian are those of the composed function; zero after the end of the episode."""
    system, x, u = double_integrator(), jnp.array([1.0, 0.5]), jnp.array([[0.3], [0.2]])
    xs = jnp.stack([x, system(x, u[0], 0).mean, jnp.array([8.0, 8.0])])
    expansion = jax.jit(lambda: expand(Problem(system, Both(edge=1.02)), xs, u, second_order=False))()
    composed = lambda z: Both().step_cost(z[:2], z[2:], system(z[:2], z[2:], 0).mean, 0)  # noqa: E731
    z = jnp.concatenate([x, u[0]])
    np.testing.assert_allclose(expansion.cost.c[0], jax.grad(composed)(z), rtol=1e-5)
    np.testing.assert_allclose(expansion.cost.C[0], jax.hessian(composed)(z), rtol=1e-5)
    for part in (expansion.cost.c[1], expansion.cost.C[1], expansion.final.c, expansion.final.C):
        np.testing.assert_array_equal(part, 0)


class Clock(QuadraticTask):
    """A step costs its own index, the last state 1000; ends where x0 > edge."""

    def cost(self, x, u, t):
        return jnp.asarray(t, x.dtype)

    def final_cost(self, x):
        return jnp.full((), 1000.0)


def test_times_and_the_final_cost():
    task, us = Clock(edge=2.5), jnp.zeros((4, 1))
    goes_on, ends = jnp.zeros((5, 2)), jnp.array([[0.0], [1], [3], [0], [0]]) * jnp.ones((1, 2))
    np.testing.assert_array_equal(trajectory_costs(task, goes_on, us, 7 + jnp.arange(4)), [7, 8, 9, 10, 1000])
    np.testing.assert_array_equal(trajectory_costs(task, ends, us, 7 + jnp.arange(4)), [7, 8, 0, 0, 0])
    np.testing.assert_array_equal(alive(task, ends), [True, True, False, False, False])
    last = ends.at[2].set(0).at[4].set(3)  # ends with the last step
    np.testing.assert_array_equal(trajectory_costs(task, last, us, jnp.arange(4)), [0, 1, 2, 3, 0])


def test_a_problem_plans_from_its_start_time():
    problem = Problem(double_integrator(), Clock())
    assert problem.t0 == 0
    later, us, x0 = problem.starting_at(5), jnp.zeros((2, 4, 1)), jnp.zeros(2)
    np.testing.assert_array_equal(later.times(3), [5, 6, 7])
    for costs in every_cost(later, x0, us):
        np.testing.assert_array_equal(costs, 5 + 6 + 7 + 8 + 1000)
    traces = []
    counted = eqx.filter_jit(lambda problem: traces.append(1) or problem.times(3))
    counted(problem), counted(later), counted(problem.starting_at(np.int64(9))), counted(problem.starting_at(2.0))
    assert len(traces) == 1


def test_a_learned_reward_is_known_only_after_the_step():
    x, u, x_next, t = jnp.array([1.0, 5.0]), jnp.zeros(1), jnp.array([2.0, 7.0]), jnp.array(0)
    task = LearnedTask(Base(), None, True)
    assert step_cost(task, x, u, x_next, t) == -7 and task.final_cost(x_next) == 0
    assert LearnedTask(Base(), None, True, final_weight=8.0).final_cost(x_next) == -49  # the last reward 8 times in all
    for unknown in (task, simulated(jnp.array(0.0), "simulated", "simulated").task):
        with pytest.raises(UsageError, match="only after the step"):
            unknown.cost(x, u, t)
