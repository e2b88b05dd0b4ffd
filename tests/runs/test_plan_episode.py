"""Planning on a known system, against what can be worked out by hand."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import LinearGaussian, Plan, Result, UsageError
from forethought.envs.shipped import shipped
from forethought.planning.random_shooting import RandomShooting
from forethought.runs.plan_episode import plan_on

ENV = shipped("forethought/PendulumSwingUp-v0")
T = ENV.task.horizon


class Damped:
    """A planner with an answer of its own: brake the pendulum by feedback."""

    horizon = T

    def __init__(self):
        self.calls = []

    def __hash__(self):
        return id(self)

    def init(self, problem):
        return jnp.zeros(())

    def plan(self, problem, x0, state, *, key):
        self.calls.append(1)
        F = jnp.tile(jnp.array([[[0.0, -1.0]]]), (T, 1, 1))
        policy = LinearGaussian(F, jnp.zeros((T, 1)), jnp.zeros((T, 1, 1)))
        iterations = (7 + state).astype(jnp.int32)
        cost, result = jnp.array(5.0), jnp.asarray(Result.converged)
        return Plan(policy, jnp.zeros((T + 1, 2)), cost, result, problem.task.action_space, iterations), state + 1


def test_a_plan_that_covers_the_episode_is_made_once_and_its_feedback_followed():
    one = plan_on(ENV, ENV.problem, Damped(), name="damped")
    assert not one.receding and one.latency.steps == 1 and one.iterations == 7 and one.converged
    assert one.planned_cost == 5.0
    velocity = one.episode.x[:, 1:]
    limits = np.asarray(ENV.task.action_space.low), np.asarray(ENV.task.action_space.high)
    np.testing.assert_allclose(one.episode.u, np.clip(-velocity, *limits), atol=1e-6)
    np.testing.assert_allclose(
        one.cost, -one.episode.reward.sum() + float(ENV.task.final_cost(jnp.asarray(one.episode.x_next[-1]))), rtol=1e-6
    )


def test_planning_at_every_step_keeps_the_warm_start():
    one = plan_on(ENV, ENV.problem, Damped(), name="damped", receding=True)
    assert one.receding and one.latency.steps == T == one.length
    assert one.iterations == 7 + (T - 1) / 2  # the state counts the plans


def test_the_same_seed_gives_the_same_episode():
    planner = RandomShooting(hold=1, horizon=4, population=8, particles=1)
    first, again, other = (plan_on(ENV, ENV.problem, planner, name="r", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.episode.u, again.episode.u)
    assert not np.array_equal(first.episode.u, other.episode.u)
    assert first.converged is None  # random shooting has no test of convergence


def test_a_time_budget_needs_a_planner_that_can_stop():
    with pytest.raises(UsageError, match="no time budget"):
        plan_on(ENV, ENV.problem, Damped(), name="damped", budget_s=0.1)


def test_a_model_with_another_time_step_is_refused():
    slower = eqx.tree_at(lambda problem: (problem.dynamics.dt, problem.task.dt), ENV.problem, (0.1, 0.1))
    with pytest.raises(UsageError, match="steps of 0.1 s, and .* of 0.05 s"):
        plan_on(ENV, slower, Damped(), name="damped")
