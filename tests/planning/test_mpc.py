from dataclasses import dataclass
from types import SimpleNamespace

import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import OnHost, Problem, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs import GymEnv
from forethought.envs.system_env import SystemEnv
from forethought.envs.vector import collect_vector
from forethought.planning import mpc
from forethought.planning.cem import CEM
from forethought.planning.mpc import MPC, Latency, TimedMPC
from forethought.planning.particles import open_loop_plan
from tests.linear import QuadraticTask, double_integrator

PROBLEM = Problem(double_integrator(), QuadraticTask(horizon=6))


class Clock:
    now = 0.0


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(mpc, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


@dataclass(frozen=True)
class Sleeper:
    """Every iteration takes `seconds` and adds 0.1 to the action."""

    clock: Clock
    seconds: float
    iterations: int = 3

    def init(self, problem):
        return jnp.zeros(())

    def begin(self, problem, x0, state):
        return jnp.zeros(())

    def improve(self, problem, x0, search, i, *, key):
        def wait(search):
            self.clock.now += self.seconds
            return np.asarray(search) + np.float32(0.1)

        return jax.pure_callback(wait, jax.ShapeDtypeStruct((), search.dtype), search)

    def finish(self, problem, x0, search):
        return open_loop_plan(problem, x0, jnp.full((2, 1), search), search), search

    def plan(self, problem, x0, state, *, key):
        raise AssertionError("the clock decides")


def test_time_decides_how_many_iterations_there_are(clock):
    planner = Sleeper(clock, 0.05)
    controller = TimedMPC(planner, PROBLEM, 0.22)
    carry = controller.init(jnp.ones(2), key=jr.key(0))
    assert controller.compile_s == pytest.approx(0.3)  # two warm-ups of three iterations
    u, carry = controller.act(np.ones(2, np.float32), 0, carry, key=jr.key(0))
    assert controller.iterations == [4] and controller.seconds == [pytest.approx(0.2)]
    assert u[0] == pytest.approx(0.4) and carry == pytest.approx(0.4)


def test_expected_time_rises_at_once_and_falls_slowly(clock):
    planner = Sleeper(clock, 0.05)
    controller = TimedMPC(planner, PROBLEM, 0.22)
    carry = controller.init(jnp.ones(2), key=jr.key(0))
    counts = []
    for seconds in (0.12, *[0.05] * 20):
        object.__setattr__(planner, "seconds", seconds)
        _, carry = controller.act(np.ones(2, np.float32), 0, carry, key=jr.key(0))
        counts.append(controller.iterations[-1])
    assert counts[0] == 1 and counts[1] < 4 and counts[-1] == 4
    assert max(controller.seconds) <= 0.22


def test_one_iteration_is_always_done(clock):
    controller = TimedMPC(Sleeper(clock, 0.03), PROBLEM, 0.001)
    carry = controller.init(jnp.ones(2), key=jr.key(0))
    controller.act(np.ones(2, np.float32), 0, carry, key=jr.key(0))
    assert controller.iterations == [1]


def test_latency_is_reported_by_its_percentiles():
    latency = Latency.of([0.01 * i for i in range(101)])
    assert (latency.steps, latency.longest) == (101, 1.0)
    assert (latency.p50, latency.p95, latency.p99) == pytest.approx((0.5, 0.95, 0.99))
    with pytest.raises(ValueError, match="not planned yet"):
        _ = TimedMPC(CHEAP, PROBLEM, 1.0).latency


CHEAP = CEM(horizon=5, population=20, elites=4, iterations=2, particles=1)


def test_it_acts_in_our_systems_as_a_compiled_controller_does():
    system = SystemEnv("Point", PROBLEM, StateSpace(2))
    controller = TimedMPC(CHEAP, PROBLEM, 0.02)
    assert isinstance(controller, OnHost) and not isinstance(MPC(CHEAP, PROBLEM), OnHost)
    told = []
    episode = system.run(controller, key=jr.key(0), on_step=lambda step, total: told.append(total))
    assert len(episode) == 6 and episode.truncated[-1] and not episode.truncated[:-1].any()
    np.testing.assert_array_equal(episode.x[1:], episode.x_next[:-1])
    assert np.abs(episode.u).max() <= 1
    assert told[-1] == pytest.approx(episode.reward.sum()) and len(told) == controller.latency.steps == 6
    compiled = system.run(MPC(CHEAP, PROBLEM), key=jr.key(0))
    np.testing.assert_array_equal(compiled.x[0], episode.x[0])


class Line(gym.Env):
    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.ones(2, np.float32), {}

    def step(self, action):
        return np.ones(2, np.float32), 0.0, False, False, {}


def test_it_acts_in_gymnasium_environments_but_not_in_many_at_once():
    controller = TimedMPC(CHEAP, PROBLEM, 0.01)
    assert len(GymEnv(Line(), horizon=3).run(controller, key=jr.key(0))) == 3
    assert controller.latency.steps == 3
    with pytest.raises(UsageError, match="one environment at a time"):
        collect_vector(gym.vector.SyncVectorEnv([Line]), controller, key=jr.key(0), steps=2)


def test_a_budget_must_be_positive():
    with pytest.raises(ValueError, match="budget_s"):
        TimedMPC(CHEAP, PROBLEM, 0.0)
