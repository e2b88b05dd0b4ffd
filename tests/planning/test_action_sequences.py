"""Sampling planners with discrete actions: distributions over sequences, and plans against enumeration."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.pets import PETS
from forethought.core import Choices, DiagonalGaussian, Discrete, Problem, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.system_env import SystemEnv
from forethought.models.ensemble import Ensemble
from forethought.planning.action_sequences import CategoricalSequences, sequences_around, uniform_sequences
from forethought.planning.candidates import Elites
from forethought.planning.cem import CEM
from forethought.planning.guided import GuidedMPC
from forethought.planning.ilqr import ILQR
from forethought.planning.mpc import MPC
from forethought.planning.particles import expected_cost
from forethought.planning.random_shooting import RandomShooting
from forethought.report.in_depth import in_depth
from forethought.runs import driver
from tests.linear import QuadraticTask, double_integrator

FORCES = np.array([-1.0, 0.0, 1.0], np.float32)


class Pushed(eqx.Module):
    """The double integrator under one of three forces."""

    std: float = eqx.field(static=True, default=0.0)

    def __call__(self, x, u, t):
        y = double_integrator(self.std)(x, jnp.asarray(FORCES)[u][None], t)
        return DiagonalGaussian(y.mean, y.std)

    def draw(self, *, key):
        return self


class ChooseForce(QuadraticTask):
    """Its task; the effort is that of the force."""

    @property
    def action_space(self):
        return Discrete(3)

    def cost(self, x, u, t):
        return x @ x + self.effort * jnp.asarray(FORCES)[u] ** 2


T = 5
PROBLEM = Problem(Pushed(), ChooseForce(horizon=T, final=20.0))
X0 = jnp.array([0.1, -0.3])
CEMS = CEM(horizon=T, population=60, elites=8, iterations=6, particles=1)
SHOOTING = RandomShooting(horizon=T, population=3000, hold=1, particles=1)
BUDGET = {"cem": CEMS, "random shooting": SHOOTING}


@pytest.mark.parametrize("name", BUDGET)
def test_the_plan_is_the_best_of_all_sequences(name):
    """Against all 3^5 of them."""
    planner = BUDGET[name]
    everything = jnp.array(list(itertools.product(range(3), repeat=T)), jnp.int32)
    costs = expected_cost(PROBLEM, X0, everything, particles=1, propagation="ts-inf", key=jr.key(0))
    plan, warm = eqx.filter_jit(lambda x: planner.plan(PROBLEM, x, planner.init(PROBLEM), key=jr.key(1)))(X0)
    np.testing.assert_array_equal(plan.us, everything[jnp.argmin(costs)])
    assert float(plan.cost) == pytest.approx(float(costs.min()), rel=1e-5)
    assert isinstance(plan.policy, Choices) and int(plan.act(X0, 2)) == int(plan.us[2])
    assert len(set(np.asarray(plan.us).tolist())) > 1  # a plan that has to choose
    fresh = jax.tree.map(lambda a: (a.shape, a.dtype), planner.init(PROBLEM))
    assert jax.tree.map(lambda a: (a.shape, a.dtype), warm) == fresh


def test_categorical_samples_have_the_probabilities():
    p = jnp.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    us = CategoricalSequences(p).sample(20_000, key=jr.key(0))
    frequencies = np.stack([np.mean(np.asarray(us) == i, axis=0) for i in range(3)], axis=1)
    np.testing.assert_allclose(frequencies, p, atol=4 * np.sqrt(0.25 / 20_000))
    np.testing.assert_array_equal(CategoricalSequences(p).center, [1, 1, 0])


def test_uniform_choices_are_held():
    us = np.asarray(uniform_sequences(Discrete(4), 4000, 5, jnp.float32, hold=2, key=jr.key(0)))
    assert us.shape == (4000, 5) and us.dtype == np.int32
    np.testing.assert_array_equal(us[:, 0], us[:, 1])
    np.testing.assert_array_equal(us[:, 2], us[:, 3])
    np.testing.assert_allclose(np.bincount(us[:, 4], minlength=4) / 4000, 0.25, atol=0.03)
    ones = uniform_sequences(Discrete(1), 10, 3, jnp.float32, key=jr.key(0))
    np.testing.assert_array_equal(ones, 0)


def test_a_refit_takes_the_frequencies_of_the_elites_and_smooths_them():
    """Elites 0, 0, 1 of two choices, previously equal: keep 0.4 gives 0.4 (0.5, 0.5) + 0.6 (2/3, 1/3)."""
    elites = Elites.of(jnp.array([[0], [0], [1], [1]]), jnp.array([1.0, 2.0, 3.0, 4.0]), 3)
    before = CategoricalSequences(jnp.array([[0.5, 0.5]]))
    np.testing.assert_allclose(before.refitted(elites, 0.4).p, [[0.6, 0.4]], rtol=1e-6)
    half = Elites.of(jnp.array([[0], [0], [1], [1]]), jnp.array([1.0, jnp.inf, jnp.inf, jnp.inf]), 2)
    np.testing.assert_allclose(before.refitted(half, 0.0).p, [[0.75, 0.25]], rtol=1e-6)
    none = Elites.of(jnp.array([[0], [1]]), jnp.array([jnp.inf, jnp.inf]), 2)
    np.testing.assert_allclose(before.refitted(none, 0.0).p, before.p)


def test_a_search_starts_wide_at_the_warm_start():
    sure = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(sequences_around(Discrete(2), sure).p, [[0.75, 0.25], [0.25, 0.75]])
    np.testing.assert_allclose(CategoricalSequences(sure).one_step_later(), [[0.0, 1.0], [0.5, 0.5]])


def test_particles_through_noise_cost_more_than_without():
    us = jnp.zeros((2, T), jnp.int32)
    noisy = Problem(Pushed(0.3), PROBLEM.task)
    costs = [expected_cost(p, X0, us, particles=64, propagation="ts-inf", key=jr.key(0))[0] for p in (PROBLEM, noisy)]
    assert float(costs[1]) > float(costs[0])


def test_mpc_with_choices_brings_the_system_to_rest():
    planner = RandomShooting(horizon=8, population=200, particles=1)
    env = SystemEnv("choose", Problem(Pushed(), ChooseForce(horizon=40, final=10.0)), StateSpace(2))
    episode = env.run(MPC(planner, env.problem), key=jr.key(0))
    assert episode.u.dtype == np.int32 and episode.u.shape == (40,)
    assert np.linalg.norm(episode.x_next[-1]) < 0.3


@pytest.mark.slow
def test_pets_learns_from_choices_and_reports(tmp_path):
    tiny = PETS(model=Ensemble(members=2, hidden=(16,), max_epochs=30), round_steps=1,
                planner=CEM(horizon=6, population=20, elites=4, iterations=2, particles=2))  # fmt: skip
    env = SystemEnv("choose", Problem(Pushed(), ChooseForce(horizon=12)), StateSpace(2))
    run = driver.train(tiny, env, iterations=2, out=tmp_path, progress=False)
    assert run.state.buffer.data.u.dtype == jnp.int32 and int(run.state.buffer.size) == 24
    assert run.state.learned.dynamics.choices == 3 and np.isfinite(run.metrics[1]["model_error"])
    assert int(run.act(np.zeros(2))) in (0, 1, 2)
    titles = [section.title for section in in_depth(run, episodes=1, seed=None, video=False).sections]
    assert {"Plan against reality", "Model error by horizon", "Calibration"} <= set(titles)


def test_planners_of_continuous_actions_are_refused_before_any_experience():
    env = SystemEnv("choose", PROBLEM, StateSpace(2))
    with pytest.raises(UsageError, match="ILQR needs continuous actions.* 3 discrete ones: use --planner cem"):
        PETS(planner=ILQR()).init(env, key=jr.key(0))


class PushBack(eqx.Module):
    """The force against the motion."""

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return jnp.where(x[1] < 0, 2, 0).astype(jnp.int32), carry


def test_a_guide_chooses_where_nothing_else_is_searched():
    guided = GuidedMPC(MPC(RandomShooting(horizon=T, population=1, hold=1, particles=1), PROBLEM), PushBack())
    for x, choice in ((X0, 2), (-X0, 0)):
        u, (planned, _) = guided.act(x, jnp.array(0), guided.init(x, key=jr.key(0)), key=jr.key(1))
        assert u.dtype == jnp.int32 and int(u) == choice and planned.us.shape == (T,)
