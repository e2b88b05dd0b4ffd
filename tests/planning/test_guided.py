"""Searches that begin with a guess, and MPC that is guided by another controller."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Delta, Problem, UsageError
from forethought.planning.backup import WithBackup
from forethought.planning.cem import CEM
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.guided import GuidedMPC, TakesGuess, guided_by
from forethought.planning.icem import ICEM
from forethought.planning.ilqr import ILQR
from forethought.planning.mpc import MPC
from forethought.planning.mppi import MPPI
from forethought.planning.random_shooting import RandomShooting
from forethought.planning.rollout import follow, foresee, stage_costs
from forethought.tasks.learned_task import FromObservation
from tests.linear import QuadraticTask, double_integrator

T = 8
X0 = jnp.array([1.0, 0.0])
FEW = {"horizon": T, "particles": 1}
PLANNERS = {
    "icem": ICEM(population=6, elites=3, iterations=1, **FEW),
    "mppi": MPPI(population=6, iterations=1, **FEW),
    "random": RandomShooting(population=6, **FEW),
    "ilqr": ILQR(horizon=T, iterations=1),
    "gradient": GradientShooting(horizon=T, iterations=1, guesses=2),
}
PROBLEM = Problem(double_integrator(), QuadraticTask(final=10.0))
plan = eqx.filter_jit(lambda planner, state, key: planner.plan(PROBLEM, X0, state, key=key))


class Feedback(eqx.Module):
    """u = -x_0 - x_1 + bias k, where the memory counts the steps k; it refuses states that are no observations."""

    bias: float = 0.0

    def init(self, x0, *, key):
        assert x0.shape == (2,)
        return jnp.zeros((), jnp.int32)

    def act(self, x, t, carry, *, key):
        assert x.shape == (2,)
        return -(x[:1] + x[1:2]) + self.bias * carry, carry + 1


@pytest.fixture(scope="module")
def good():
    """Nearly the best sequence."""
    many = ILQR(horizon=T, iterations=50)
    return many.plan(PROBLEM, X0, many.init(PROBLEM), key=jr.key(0))[0].us


def cost_of(us):
    xs, us = follow(PROBLEM, X0, lambda x, i: us[i], us.shape[0])
    return float(jnp.sum(stage_costs(PROBLEM, xs, us)))


@pytest.mark.parametrize("name", PLANNERS)
def test_a_search_is_never_worse_than_its_guess(name, good):
    planner = PLANNERS[name]
    assert isinstance(planner, TakesGuess)
    start = planner.init(PROBLEM)
    guessed = planner.with_guess(start, good)
    assert jax.tree.structure(guessed) == jax.tree.structure(start)
    jax.tree.map(lambda a, b: np.testing.assert_equal((a.shape, a.dtype), (b.shape, b.dtype)), guessed, start)
    costs = [float(plan(planner, guessed, jr.key(seed))[0].cost) for seed in range(5)]
    assert max(costs) <= cost_of(good) + 1e-3


@pytest.mark.parametrize("name", ["icem", "mppi", "random"])
def test_the_guess_decides_a_short_search(name, good):
    """Without it so few samples find nothing as good."""
    planner = PLANNERS[name]
    alone = [float(plan(planner, planner.init(PROBLEM), jr.key(seed))[0].cost) for seed in range(5)]
    assert min(alone) > 1.02 * cost_of(good)


def test_cem_takes_no_guess_since_its_samples_cannot_leave_a_limit():
    assert not isinstance(CEM(), TakesGuess)


def test_actions_are_foreseen_along_the_means_within_the_limits():
    guide = Feedback(bias=0.3)
    us = foresee(PROBLEM, lambda x, t, m: guide.act(x, t, m, key=None), 5 * X0, guide.init(X0, key=None), 4)
    x, A, B = np.array(5 * X0), np.asarray(PROBLEM.dynamics.A), np.asarray(PROBLEM.dynamics.B)
    for k in range(4):
        u = np.clip([-(x[0] + x[1]) + 0.3 * k], -1, 1)
        np.testing.assert_allclose(us[k], u, atol=1e-5)
        x = A @ x + B @ u
    assert abs(us[0, 0]) == 1


def test_the_guides_plan_is_the_warm_start_and_its_memory_moves_one_step():
    planner = ILQR(horizon=T, iterations=1)
    guide = Feedback(bias=0.1)
    guided = GuidedMPC(MPC(planner, PROBLEM), guide)
    key = jr.key(0)
    carry = guided.init(X0, key=key)
    u, result, (planned, memory) = guided.act_with_result(X0, jnp.array(0), carry, key=key)
    us = foresee(PROBLEM, lambda x, t, m: guide.act(x, t, m, key=None), X0, carry[1], T)
    expected, state = planner.plan(PROBLEM, X0, planner.with_guess(carry[0], us), key=key)
    np.testing.assert_allclose(u, expected.us[0], atol=1e-6)
    np.testing.assert_allclose(planned.us, state.us, atol=1e-6)
    assert int(memory) == 1 and int(result) == int(expected.result)
    np.testing.assert_array_equal(guided.act(X0, jnp.array(0), carry, key=key)[0], u)


class WithReward(eqx.Module):
    """Dynamics of [observation; reward], as those that learn the reward."""

    n_extra: int = eqx.field(static=True, default=1)

    def __call__(self, x, u, t):
        return Delta(jnp.concatenate([PROBLEM.dynamics(x[:2], u, t).mean, jnp.zeros(1)]))

    def draw(self, *, key):
        return self


class OfObservation(eqx.Module):
    """The cost of the observation."""

    inner: QuadraticTask

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def cost(self, x, u, t):
        return self.inner.cost(x[:2], u, t)

    def final_cost(self, x):
        return self.inner.final_cost(x[:2])


def test_every_mpc_inside_is_guided_and_the_guide_sees_the_observation_only():
    problem = Problem(WithReward(), OfObservation(PROBLEM.task))
    mpc = FromObservation(MPC(PLANNERS["icem"], problem))
    guided = guided_by(Feedback(), WithBackup(mpc, Feedback(bias=1.0)))
    assert isinstance(guided.mpc.inner, GuidedMPC) and guided.backup == Feedback(bias=1.0)
    u, _ = guided.act(X0, jnp.array(0), guided.init(X0, key=jr.key(0)), key=jr.key(1))
    assert u.shape == (1,) and jnp.isfinite(u).all()


@pytest.mark.parametrize(
    ("controller", "message"),
    [(Feedback(), "a Feedback does not plan"), (MPC(CEM(), PROBLEM), "CEM takes no guess")],
)
def test_a_controller_that_cannot_be_guided_is_refused(controller, message):
    with pytest.raises(UsageError, match=message):
        guided_by(Feedback(), controller)
