"""Costs that depend on time: planning at step t is for the steps t, t + 1, ..."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Delta, Problem
from forethought.dynamics.space import StateSpace
from forethought.envs.acting import Actor
from forethought.envs.system_env import SystemEnv
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.icem import ICEM
from forethought.planning.initial_guesses import sampled_guesses
from forethought.planning.mpc import MPC, TimedMPC
from forethought.planning.mppi import MPPI
from forethought.runs.plan_episode import plan_on
from forethought.tasks.reference import Reference
from tests.linear import QuadraticTask

PLANNERS = {
    "icem": ICEM(horizon=8, population=128, iterations=4),
    "cem": CEM(horizon=8),
    "mppi": MPPI(horizon=8, population=300, iterations=4, temperature=0.02, noise=0.5, beta=0.0, control_cost=0.0),
    "gradient": GradientShooting(horizon=8, guesses=1, iterations=40),
}


class Integrator(eqx.Module):
    """x' = x + u."""

    def __call__(self, x, u, t):
        return Delta(x + u)

    def draw(self, *, key):
        return self


class Track(QuadraticTask):
    """Follow sin(0.3 t) at no more than 0.2 a step."""

    horizon: int = eqx.field(static=True, default=40)
    limit: float = eqx.field(static=True, default=0.2)
    reference: Reference = eqx.field(default_factory=lambda: Reference(jnp.sin(0.3 * jnp.arange(48.0))[:, None]))

    def initial(self, *, key):
        return jnp.zeros(1)

    def cost(self, x, u, t):
        return jnp.sum((x - self.reference(t)) ** 2)

    def final_cost(self, x):
        return jnp.zeros(())


PROBLEM = Problem(Integrator(), Track())
ENV = SystemEnv("track", PROBLEM, StateSpace(1))


@pytest.mark.parametrize("name", PLANNERS)
def test_mpc_tracks_a_moving_reference(name):
    """0.7 is the cost of the best plan for the whole episode; planning as if it were always t = 0 costs 25 to 31."""
    episode = ENV.run(MPC(PLANNERS[name], PROBLEM), key=jr.key(0))
    assert -episode.reward.sum() < 1.0


def test_so_do_mpc_within_a_time_budget_and_the_command_line():
    controller = TimedMPC(PLANNERS["gradient"], PROBLEM, 0.05)
    assert -ENV.run(controller, key=jr.key(0)).reward.sum() < 1.5
    planned = plan_on(ENV, PROBLEM, PLANNERS["gradient"], name="gradient-shooting")
    assert planned.receding and planned.cost < 1.0


def test_sampled_guesses_are_for_the_start_time_of_the_problem():
    """From step 5 the reference falls below zero within the horizon; from step 0 it does not."""

    @eqx.filter_jit
    def guess(problem):
        sizes = {"starts": 2, "samples": 100, "rounds": 10}
        return sampled_guesses(problem, jnp.ones(1), jnp.zeros((8, 1)), **sizes, key=jr.key(0))

    def cost(xs, start):
        return float(np.sum((xs[:-1, 0] - np.sin(0.3 * (start + np.arange(8)))) ** 2))

    guesses = {start: guess(PROBLEM.starting_at(start)) for start in (0, 5)}
    for start, other in ((0, 5), (5, 0)):
        us, xs = guesses[start]
        np.testing.assert_array_equal(us[0], 0)
        np.testing.assert_allclose(xs[1, 1:], 1 + np.cumsum(us[1], axis=0), rtol=1e-5)
        assert cost(xs[1], start) < 0.8 * min(cost(xs[0], start), cost(guesses[other][1][1], start))


class Counting:
    """A controller that counts how often its `act` is traced."""

    def __init__(self):
        self.traces = 0

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        self.traces += 1
        assert t.dtype == jnp.int32
        return jnp.full((1,), t, float), carry


def test_a_step_index_of_another_type_compiles_nothing_again():
    controller = Counting()
    actor = Actor(key=jr.key(0))
    actor.take(controller, np.zeros(1, np.float32), 0)
    for t in (3, np.int64(3), 3.0, np.float32(3), jnp.array(3)):
        assert actor(np.zeros(1, np.float32), t) == 3
    assert controller.traces == 1
