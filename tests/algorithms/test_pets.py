import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.divergence import divergence_notes
from forethought.algorithms.pets import PETS
from forethought.core import NumericalFailure, Problem
from forethought.dynamics.space import StateSpace
from forethought.envs.system_env import SystemEnv
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.models.gmm import GMM
from forethought.models.gp.process import GP
from forethought.planning.icem import ICEM
from tests.linear import QuadraticTask, double_integrator
from tests.planning.test_planners import X0, optimum

TINY = PETS(
    model=Ensemble(members=2, hidden=(24, 24), max_epochs=60, batch=16),
    planner=ICEM(horizon=12, population=40, elites=6, iterations=3, decay=1.0, particles=2, beta=1.0),
    classifier=Classifier(hidden=8, depth=1, updates=100),
    round_steps=1,
)

WITH_GP = dataclasses.replace(TINY, model=GP(restarts=1, features=32))
WITH_GMM = dataclasses.replace(TINY, model=GMM(rows_per_component=20))


class Hidden(SystemEnv):
    """A system that keeps its cost and its end to itself."""

    learn_reward = True
    learn_termination = True


def system(kind=SystemEnv, **task):
    return kind("double integrator", Problem(double_integrator(), QuadraticTask(horizon=12, **task)), StateSpace(2))


def train(algorithm, env, rounds, seed=0):
    key = jr.key(seed)
    state = algorithm.init(env, key=jr.fold_in(key, 1_000_000))
    infos = []
    for i in range(rounds):
        state, info = algorithm.iterate(state, env, key=jr.fold_in(key, i))
        infos.append(info)
    return state, infos


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SystemEnv, Hidden])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("algorithm", [TINY, WITH_GP, WITH_GMM], ids=["ensemble", "gp", "gmm"])
def test_reaches_the_known_optimum(seed, kind, algorithm):
    """Within 15% of the best cost that a dense solver finds for the true system (the final cost is not paid)."""
    env = system(kind)
    _, infos = train(algorithm, env, 7, seed)
    paid = -min(float(info.episodes[0].reward.sum()) for info in infos[-2:])
    best = optimum(Problem(double_integrator(), QuadraticTask(final=0.0)), X0)
    assert best * 0.999 <= paid <= 1.15 * best


@pytest.mark.parametrize(
    "algorithm",
    [TINY, *(pytest.param(one, marks=pytest.mark.slow) for one in (WITH_GP, WITH_GMM))],
    ids=["ensemble", "gp", "gmm"],
)
def test_round_by_round(algorithm):
    """Random first; then plans; the data grow; the structure of the state stays; equal seeds give equal bits."""
    env = system(Hidden, edge=1.02)
    state, infos = train(algorithm, env, 3)
    again, _ = train(algorithm, env, 3)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    start = algorithm.init(env, key=jr.key(9))
    assert jax.tree.structure(start) == jax.tree.structure(state)
    arrays, later = (jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (start, state))
    assert [a.dtype for a in arrays] == [a.dtype for a in later]
    assert int(state.buffer.size) == sum(len(info.episodes[0]) for info in infos)
    assert infos[0].metrics["model_error"] is None and infos[1].metrics["model_error"] > 0


def test_ends_are_learned_once_one_was_seen():
    env = system(Hidden, edge=1.02)
    state = TINY.init(env, key=jr.key(0))
    assert TINY.problem(state, env).task.never_terminal
    ended = False
    for i in range(4):
        state, info = TINY.iterate(state, env, key=jr.fold_in(jr.key(1), i))
        ended = ended or bool(info.episodes[0].terminated.any())
        assert TINY.problem(state, env).task.never_terminal == (not ended)
        assert ("termination_error" in info.metrics) == ended


class Counted(Ensemble):
    """An ensemble that counts its fits."""

    fits = 0

    def fit(self, *args, **kwargs):
        type(self).fits += 1
        return super().fit(*args, **kwargs)


def test_a_round_of_short_episodes_has_enough_steps_and_fits_once_the_data_have_grown(monkeypatch):
    """Episodes of 3 steps, rounds of at least 8: 9 steps each; a fit where the data grew by half since the last one."""
    monkeypatch.setattr(Counted, "fits", 0)
    model = Counted(members=2, hidden=(24, 24), max_epochs=60, batch=16)
    algorithm = dataclasses.replace(TINY, model=model, trial_steps=3, round_steps=8, refit_growth=0.5)
    env, fits = system(), []
    state = algorithm.init(env, key=jr.key(0))
    for i in range(5):
        before = state
        state, info = algorithm.iterate(state, env, key=jr.fold_in(jr.key(1), i))
        assert [len(episode) for episode in info.episodes] == [3, 3, 3]
        fits.append(Counted.fits)
        assert ("fit_loss" in info.metrics) == (len(fits) == 1 or fits[-1] > fits[-2])
        assert np.isfinite(info.metrics["model_error"]) if i else info.metrics["model_error"] is None
    assert fits == [1, 2, 3, 3, 4]  # at 9, 18, 27 (not 36) and 45 rows
    assert int(state.learned.rows) == 45 and int(before.learned.rows) == 27 and int(state.episodes) == 15


@pytest.mark.parametrize("kind", [SystemEnv, Hidden])
def test_episodes_of_one_step(kind):
    """Every state after a step is terminal; nothing is known of a spread after the first."""
    algorithm = dataclasses.replace(TINY, planner=dataclasses.replace(TINY.planner, horizon=2))
    env = system(kind, edge=0.5)
    state, infos = train(algorithm, env, 3)
    assert all(len(info.episodes[0]) == 1 and info.episodes[0].terminated[0] for info in infos)
    assert all(np.isfinite(value) for info in infos for value in info.metrics.values() if value is not None)
    for leaf in jax.tree.leaves(state.learned.dynamics):
        assert np.isfinite(leaf).all()


def test_known_task_is_used_as_it_is():
    env = system()
    state = TINY.init(env, key=jr.key(0))
    assert TINY.problem(state, env).task is env.task and state.learned.termination is None


def test_a_fit_that_is_not_finite_raises():
    env = system()
    state = TINY.init(env, key=jr.key(0))
    model = state.learned.dynamics.model
    broken = jax.tree.map(lambda a: a * jnp.nan if a.dtype == jnp.float32 else a, model)
    broken = eqx.tree_at(lambda model: model.rows, broken, jnp.array(1_000_000))  # so that the fit starts from these
    state = eqx.tree_at(lambda state: state.learned.dynamics.model, state, broken)
    with pytest.raises(NumericalFailure, match="not finite"):
        TINY.iterate(state, env, key=jr.key(0))


@pytest.mark.parametrize("kind", [SystemEnv, Hidden])
def test_a_model_whose_predictions_diverge_is_reported(kind):
    """Finite one step ahead, as the fit sees it, and not over the horizon: the search would be blind."""
    env = system(kind)
    state, info = TINY.iterate(TINY.init(env, key=jr.key(0)), env, key=jr.key(1))
    assert info.notes == ()
    outputs = state.learned.dynamics.model.networks.outputs
    wild = eqx.tree_at(lambda s: s.learned.dynamics.model.networks.outputs.std, state, 1e8 * outputs.std)
    problem = TINY.problem(wild, env)
    (note,) = divergence_notes(problem, TINY.planner, TINY.model, info.episodes[0], learn_reward=env.learn_reward)
    assert "predictions diverge: within 12 steps" in note and "8 of the 8" in note


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="random_episodes"):
        PETS(random_episodes=0)
    with pytest.raises(ValueError, match="round_steps"):
        PETS(round_steps=0)
    with pytest.raises(ValueError, match="refit_growth"):
        PETS(refit_growth=-0.1)
    with pytest.raises(ValueError, match="trial_steps"):
        PETS(trial_steps=0)
    with pytest.raises(ValueError, match="final_weight"):
        PETS(final_weight=-1.0)
    with pytest.raises(ValueError, match="multiple of model.members .7.; use 7"):
        PETS(model=Ensemble(members=7))
