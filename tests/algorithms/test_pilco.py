"""PILCO: rounds that must learn, repeat exactly, keep what works, and refuse what cannot work."""

import dataclasses
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms import pilco
from forethought.algorithms.pilco import (
    PILCO,
    HorizonSettings,
    ObjectiveSettings,
    PolicySettings,
    SearchSettings,
    TrialSettings,
)
from forethought.algorithms.pilco_objective import ExpectedCost
from forethought.core import NumericalFailure, Problem, Result, Trajectory, UsageError
from forethought.core.precision import in_float64
from forethought.dynamics.space import StateSpace
from forethought.envs.env import collect
from forethought.envs.open import open_env
from forethought.envs.system_env import SystemEnv
from forethought.models.gp.process import GP
from forethought.policies.multistart import Found
from forethought.policies.prediction import PredictedTrajectory
from forethought.runs import train

SMALL = PILCO(
    GP(restarts=1, evaluations=30),
    PolicySettings(basis_functions=5),
    search=SearchSettings(restarts=1, screening=3, finalists=1, evaluations=4),
)
TINY = dataclasses.replace(SMALL, trials=TrialSettings(steps=12), horizon=HorizonSettings(initial=12))


def rounds(settings, env, count, seed=0):
    state, infos = settings.init(env, key=jr.key(seed)), []
    for i in range(count):
        state, info = settings.iterate(state, env, key=jr.fold_in(jr.key(seed), i))
        infos.append(info)
    return state, infos


def assert_equal(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_two_rounds_repeat_exactly_and_the_prediction_of_a_trial_is_the_one_in_the_state():
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(SMALL, trials=TrialSettings(steps=30))
    before, _ = rounds(settings, env, 1)
    after, infos = rounds(settings, env, 2)
    assert_equal(after, rounds(settings, env, 2)[0])
    assert infos[0].metrics["expected_cost"] is None
    predicted = settings.prediction(before)
    assert infos[1].metrics["expected_cost"] == pytest.approx(
        float(predicted.cost[:30].sum()), rel=1e-6
    )  # of its steps
    assert predicted.states.mean.shape == (env.task.horizon + 1, 2) and np.isfinite(predicted.cost).all()


@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_was_not_interrupted(tmp_path):
    """Also what depends on the last round: the prediction, the growth of the horizon, the cost of a kept policy."""
    env, growing = "forethought/PendulumSwingUp-v0", dataclasses.replace(TINY, horizon=HorizonSettings(initial=10))
    more = {"progress": False, "observation_noise": 0.01}
    whole = train(growing, env, iterations=4, out=tmp_path / "whole", **more)
    train(growing, env, iterations=2, out=tmp_path / "run", **more)
    resumed = train(growing, env, iterations=4, out=tmp_path / "run", resume=True, **more)
    assert_equal(resumed.state, whole.state)
    ignored = {"wall_s"}
    for a, b in zip(resumed.metrics, whole.metrics, strict=True):
        assert {k: v for k, v in a.items() if k not in ignored} == {k: v for k, v in b.items() if k not in ignored}


@pytest.mark.slow
def test_the_cart_pole_is_solved_within_seventeen_seconds():
    """With the defaults: seven trials of 2.5 s."""
    env = open_env("forethought/CartPoleSwingUp-v0")
    state, infos = rounds(PILCO(), env, 7, seed=101)
    done = [env.run(PILCO().controller(state, env), key=jr.key(100 + i)) for i in range(20)]
    assert sum(len(info.episodes[0]) for info in infos) == 175
    assert sum(bool(env.task.solved(Trajectory.of_episode(episode))) for episode in done) >= 18  # rare starts may fail


@pytest.mark.slow
def test_integrated_speeds_leave_fewer_outputs_to_learn():
    """And the steps that are skipped do not count in the cost."""
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(TINY, integrate=True, objective=ObjectiveSettings(skip_first=3))
    state, infos = rounds(settings, env, 1)
    assert state.dynamics.model.noise.shape == (1,) and state.dynamics.space == env.space
    assert 0 < state.dynamics.drift < 0.01  # without sensor noise: the error of the trapezoidal rule
    counted = settings.prediction(state).cost[3 : round(0.6 * 12) + 1]
    assert infos[0].metrics["predicted_cost"] == pytest.approx(float(counted.sum()), rel=0.1)  # from wider starts
    unknown = SystemEnv("unknown", Problem(env.problem.dynamics, env.task), StateSpace(2, angles=(0,)))
    with pytest.raises(UsageError, match="unknown does not say"):
        settings.init(unknown, key=jr.key(0))


def test_a_search_that_would_count_no_step_is_refused():
    env = open_env("forethought/PendulumSwingUp-v0")
    for skip_first, refused in ((11, False), (12, True)):
        settings = dataclasses.replace(
            SMALL, horizon=HorizonSettings(initial=20), objective=ObjectiveSettings(skip_first=skip_first)
        )
        if refused:
            with pytest.raises(UsageError, match="skip_first is 12 steps.* 12 steps: none"):
                settings.init(env, key=jr.key(0))
        else:
            settings.init(env, key=jr.key(0))


def test_a_reward_that_must_be_learned_is_refused():
    with pytest.raises(UsageError, match="PILCO needs the cost of Pendulum-v1.*--cost"):
        SMALL.init(open_env("Pendulum-v1"), key=jr.key(0))


@pytest.mark.parametrize(
    ("area", "wrong"),
    [
        (PolicySettings, {"basis_functions": 0}),
        (TrialSettings, {"steps": 0}),
        (TrialSettings, {"random_hold": 0}),
        (ObjectiveSettings, {"cost_smoothing": -1.0}),
        (ObjectiveSettings, {"skip_first": -1}),
        (ObjectiveSettings, {"initial_components": 0}),
        (ObjectiveSettings, {"initial_std_scale": 0.0}),
        (SearchSettings, {"restarts": -1}),
        (SearchSettings, {"recentered": -1}),
        (SearchSettings, {"finalists": 0}),
        (SearchSettings, {"min_improvement": -0.1}),
        (HorizonSettings, {"initial": 0}),
        (HorizonSettings, {"growth": 0.9}),
        (HorizonSettings, {"warmup_fraction": 0.0}),
        (HorizonSettings, {"warmup_rounds": -1}),
    ],
)
def test_wrong_settings_are_refused(area, wrong):
    name = area.__name__.removesuffix("Settings").lower()
    with pytest.raises(ValueError, match=f"{name}s?.{next(iter(wrong))} .*got"):
        area(**wrong)


def fixed_prediction(settings, env, cost):
    """A prediction of an episode with this expected cost."""
    unknown = PredictedTrajectory.unknown(env.task.horizon, env.space.size, 1)
    return eqx.tree_at(lambda p: p.cost, unknown, jnp.asarray(cost))


def test_trials_and_predictions_grow_once_the_end_costs_little(monkeypatch):
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(
        SMALL,
        trials=TrialSettings(steps=20),
        objective=ObjectiveSettings(skip_first=5),
        horizon=HorizonSettings(initial=40, growth=2.0, warmup_fraction=1.0),
    )
    low, passing = np.r_[np.ones(30), np.zeros(71)], np.where(np.arange(101) % 40 == 0, 0.0, 1.0)
    searched = []

    def improve(self, state, env, *, restarts, key):
        searched.append(self._search_cost(state, env, key=key).counted)
        return state.policy, Found(state.policy.function, 1.0, 1, False, 0)

    predict = lambda self, policy: fixed_prediction(settings, env, passing if len(searched) == 2 else low)  # noqa: E731
    monkeypatch.setattr(ExpectedCost, "predict", predict)
    monkeypatch.setattr(PILCO, "improve", improve)
    monkeypatch.setattr(PILCO, "_notes", lambda *rest: ())
    state, infos = rounds(settings, env, 4)
    assert [len(info.episodes[0]) for info in infos] == [20, 40, 40, 80]
    assert [len(counted) - 1 for counted in searched] == [40, 80, 80, 100]
    assert [int(np.argmax(counted)) for counted in searched] == [5, 10, 10, 20] and searched[0][5:].all()
    assert int(state.growths) == 2


def test_a_policy_that_solved_its_trial_is_kept_until_another_is_predicted_to_be_better(monkeypatch):
    """The search then goes on from it, without restarts."""
    env = open_env("forethought/PendulumSwingUp-v0")
    state = dataclasses.replace(TINY.init(env, key=jr.key(0)), round=jnp.asarray(3), expected_cost=jnp.asarray(5.0))
    other = eqx.tree_at(lambda p: p.function.targets, state.policy, state.policy.function.targets + 1)
    trial = collect(env, state.policy, steps=12, key=jr.split(jr.key(5), 3)[0])
    real, searched, starts, predicted = -float(np.sum(trial.reward)), [], [], []

    def improve(self, state, env, *, restarts, key):
        searched.append(restarts)
        return in_float64(other), Found(other.function, 7.0, 3, False, 2)

    def predict(self, policy):
        starts.append(np.asarray(self.starts.mean[0]))
        return fixed_prediction(TINY, env, np.full(101, predicted[-1] * real / 12))

    monkeypatch.setattr(PILCO, "improve", improve)
    monkeypatch.setattr(ExpectedCost, "predict", predict)
    monkeypatch.setattr(PILCO, "_notes", lambda *rest: ())
    monkeypatch.setattr(type(env.task), "solved", lambda self, trajectory: jnp.array(solved))
    for solved, share, min_improvement, kept in (
        (True, 1.1, 0.0, True),
        (True, 0.95, 0.0, False),
        (True, 0.95, 0.1, True),
        (True, 0.85, 0.1, False),
        (False, 2.0, 0.1, False),
    ):
        predicted.append(share)
        search = dataclasses.replace(SMALL.search, min_improvement=min_improvement)
        before = eqx.tree_at(lambda s: s.prediction, state, fixed_prediction(TINY, env, np.full(101, 0.5)))
        after, info = dataclasses.replace(TINY, search=search).iterate(before, env, key=jr.key(5))
        assert_equal(after.policy, state.policy if kept else other)
        assert info.metrics["predicted_cost"] == float(after.expected_cost) == (5.0 if kept else 7.0)
        assert info.metrics["candidate"] == (0 if kept else 2)
        assert searched.pop() == (0 if solved else SMALL.search.restarts)
        assert info.metrics["expected_cost"] == pytest.approx(6.0)  # 12 steps of the prediction before the trial
        if solved:
            np.testing.assert_allclose(starts[-2], trial.x[0], rtol=1e-6)  # the comparison is from the trial's start


@pytest.mark.parametrize("what", ["fit", "search"])
def test_numbers_that_are_not_finite_end_the_round(monkeypatch, what):
    """The run then ends with a message, and what was learned before is kept."""
    if what == "fit":
        failed = types.SimpleNamespace(result=int(Result.not_finite), metrics={})
        monkeypatch.setattr(pilco, "fit_dynamics", lambda *args, **more: (None, failed))
    else:
        monkeypatch.setattr(ExpectedCost, "__call__", lambda self, policy: (np.nan, policy.function))
    env = open_env("forethought/CartPoleSwingUp-v0")
    with pytest.raises(NumericalFailure, match="not finite"):
        SMALL.iterate(SMALL.init(env, key=jr.key(0)), env, key=jr.key(1))
