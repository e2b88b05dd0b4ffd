"""PILCO: small runs that must learn, repeat to the bit, and refuse what cannot work."""

import dataclasses
import types

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms import pilco
from forethought.algorithms.pilco import PILCO, _doubled
from forethought.algorithms.pilco_search import recentered, start_distribution, units
from forethought.core import Buffer, NumericalFailure, Problem, Result, Trajectory, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.env import collect
from forethought.envs.open import open_env
from forethought.envs.system_env import SystemEnv
from forethought.models.gp.process import GP
from forethought.policies.multistart import Found
from forethought.policies.uniform import Uniform

SMALL = PILCO(GP(restarts=1, evaluations=30), basis=5, newcomers=1, scouting=3, survivors=1, evaluations=4)


def rounds(settings, env, count, seed=0):
    state, infos = settings.init(env, key=jr.key(seed)), []
    for i in range(count):
        state, info = settings.iterate(state, env, key=jr.fold_in(jr.key(seed), i))
        infos.append(info)
    return state, infos


@pytest.mark.slow
def test_two_rounds_are_told_and_repeat_to_the_bit():
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(SMALL, trial_steps=30)
    first, infos = rounds(settings, env, 2)
    again, _ = rounds(settings, env, 2)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert infos[0].metrics["expected_cost"] is None
    before = settings.imagined(rounds(settings, env, 1)[0], env, key=jr.key(0)).cost
    assert infos[1].metrics["expected_cost"] == pytest.approx(before[:30].sum(), rel=1e-6)  # of the trial's steps
    seen = SMALL.imagined(first, env, key=jr.key(0))
    assert seen.states.mean.shape == (env.task.horizon + 1, 2) and np.isfinite(seen.cost).all()


@pytest.mark.slow
def test_the_cart_pole_is_solved_within_seventeen_seconds():
    env = open_env("forethought/CartPoleSwingUp-v0")
    settings = PILCO(trial_steps=25, blur=0.25)  # those of the benchmark
    state, infos = rounds(settings, env, 7, seed=101)
    done = [env.run(settings.controller(state, env), key=jr.key(100 + i)) for i in range(20)]
    assert sum(len(info.episodes[0]) for info in infos) == 175
    assert sum(bool(env.task.solved(Trajectory.of_episode(episode))) for episode in done) >= 18  # rare starts may fail


def assert_recentered(settings, state, env):
    """The same policy, by other centers: they lie on the way that is expected of it, and its values there are kept."""
    with jax.enable_x64(True):
        last, dynamics = _doubled(state.policy), _doubled(state.dynamics)
        starts = start_distribution(env.task, state.buffer, 1, key=jr.key(0))
        start = jax.tree.map(lambda a: a[0], starts)
        moved = recentered(last, dynamics, env.task, start, steps=12, sensor_noise=True, key=jr.key(1))
        assert moved.centers.shape == last.function.centers.shape
        np.testing.assert_array_equal(moved.log_lengthscale, last.function.log_lengthscale)
        for center, value in zip(moved.centers, moved.targets, strict=True):
            np.testing.assert_allclose(last.function.prepared()(center).mean, value, atol=1e-9)
            np.testing.assert_allclose(moved.prepared()(center).mean, value, atol=0.02)
        expected = settings.imagined(state, env, key=jr.key(0)).states.mean[:12, 1] / last.scale[0]
        assert np.min(np.abs(np.asarray(moved.centers)[:, :1] - expected[None]), 1).max() < 0.5


def test_speeds_that_are_integrated_leave_fewer_outputs_to_learn():
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(SMALL, integrate=True, look_ahead=12, trial_steps=20, settling=3)
    state, infos = rounds(settings, env, 1)
    assert state.dynamics.model.noise.shape == (1,) and state.dynamics.space == env.space
    assert 0 < state.dynamics.drift < 0.01  # without sensor noise: what the trapezoidal rule misses
    ahead = settings.imagined(state, env, key=jr.key(0)).cost[3 : round(0.6 * 12) + 1]
    assert infos[0].metrics["predicted_cost"] == pytest.approx(ahead.sum(), rel=0.1)  # of a wider start
    assert_recentered(settings, state, env)
    untold = SystemEnv("untold", Problem(env.problem.dynamics, env.task), StateSpace(2, angles=(0,)))
    with pytest.raises(UsageError, match="untold does not say .*--speeds"):
        settings.init(untold, key=jr.key(0))


def test_a_search_that_would_count_no_step_is_refused():
    env = open_env("forethought/PendulumSwingUp-v0")
    dataclasses.replace(SMALL, look_ahead=20, settling=11).init(env, key=jr.key(0))
    with pytest.raises(UsageError, match="settling is 12 steps.* 12 steps ahead"):
        dataclasses.replace(SMALL, look_ahead=20, settling=12).init(env, key=jr.key(0))


def test_a_reward_that_must_be_learned_is_refused():
    with pytest.raises(UsageError, match="must know the cost of Pendulum-v1.*--cost"):
        SMALL.init(open_env("Pendulum-v1"), key=jr.key(0))


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"basis": 0}, "basis"),
        ({"first_horizon": 0.0}, "first_horizon"),
        ({"blur": -1.0}, "blur"),
        ({"start_width": 0.0}, "start_width"),
        ({"trial_steps": 0}, "trial_steps"),
        ({"random_hold": 0}, "random_hold"),
        ({"look_ahead": 0}, "look_ahead"),
        ({"stretch": 0.9}, "stretch"),
        ({"saving": -0.1}, "saving"),
        ({"settling": -1}, "settling"),
        ({"newcomers": -1}, "newcomers"),
        ({"recentered": -1}, "recentered"),
    ],
)
def test_wrong_settings_are_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        PILCO(**wrong)


def test_the_start_is_the_tasks_or_else_what_was_seen():
    env = open_env("forethought/CartPoleSwingUp-v0")
    one = start_distribution(env.task, Buffer.empty(4, 1), 1, key=jr.key(0))
    np.testing.assert_allclose(one.mean, np.zeros((1, 4)), atol=0.02)
    np.testing.assert_allclose(one.cov[0], 0.01 * np.eye(4), atol=0.002)
    for width in (1.0, 2.0):
        many = start_distribution(env.task, Buffer.empty(4, 1), 400, width=width, key=jr.key(0))
        total = np.cov(many.mean.T) + many.cov.mean(0)
        np.testing.assert_allclose(total, width**2 * 0.01 * np.eye(4), atol=width**2 * 0.003)

    outside = open_env("Pendulum-v1", cost=lambda x, u: x[0] * 0 + u[0] * 0, termination=lambda x: x[0] > 9)
    buffer = Buffer.empty(3, 1)
    for i in range(3):
        buffer = buffer.append(collect(outside, Uniform(outside.task.action_space), steps=4, key=jr.key(i)))
    seen = start_distribution(outside.task, buffer, 1, key=jr.key(0))
    np.testing.assert_allclose(seen.mean[0], np.asarray(buffer.data.x)[[0, 4, 8]].mean(0), rtol=1e-5)


def test_sight_grows_to_the_whole_horizon():
    settings = PILCO(first_horizon=0.5, growing=2)
    assert [settings._ahead(i, 40) for i in range(5)] == [20, 30, 40, 40, 40]


def test_what_is_mastered_is_looked_beyond(monkeypatch):
    """Trials, the look ahead and what it does not count grow together, up to the horizon, where its end is mastered."""
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(SMALL, look_ahead=40, trial_steps=20, settling=5, stretch=2.0)
    searched, good = [], np.concatenate([np.ones(30), np.zeros(71)])
    passing = np.where(np.arange(101) % 40 == 0, 0.0, 1.0)  # the goal, at the last step looked at

    def imagined(self, state, env, *, key):
        return types.SimpleNamespace(cost=good if len(searched) != 2 else passing)

    def improve(self, last, dynamics, *rest, counted: range, **more):
        searched.append(counted)
        return last, Found(last.function, 1.0, 1, False, 0)

    monkeypatch.setattr(PILCO, "imagined", imagined)
    monkeypatch.setattr(PILCO, "improve", improve)
    monkeypatch.setattr(PILCO, "_notes", lambda *rest: ())
    _, infos = rounds(settings, env, 4)
    assert searched == [range(5, 40), range(10, 80), range(10, 80), range(20, 100)]
    assert [len(info.episodes[0]) for info in infos] == [20, 40, 40, 80]
    assert rounds(SMALL, env, 1)[0].stretches is None


def test_what_costs_little_beside_the_rest_only_is_not_mastered(monkeypatch):
    """Far from its goal a saturating cost is flat, and falls a little toward the end."""
    env = open_env("forethought/PendulumSwingUp-v0")
    settings = dataclasses.replace(SMALL, look_ahead=40)
    state = settings.init(env, key=jr.key(0))
    for cost, mastered in (
        (np.linspace(0.999, 0.95, 101), False),
        (np.linspace(1, -3, 101), True),  # rewards
        (np.full(101, -1.0), True),
        (np.r_[np.ones(30), np.full(71, 0.2)], True),
        (np.r_[np.ones(30), np.full(71, 0.3)], False),
    ):
        monkeypatch.setattr(PILCO, "imagined", lambda *rest, key, cost=cost: types.SimpleNamespace(cost=cost))
        assert settings._mastered(state, env, 40) == mastered


def test_a_policy_that_solved_its_trial_stays_until_another_is_expected_to_save_enough(monkeypatch):
    """Else the search goes on from it, without newcomers."""
    env = open_env("forethought/PendulumSwingUp-v0")
    state, _ = rounds(SMALL, env, 1)
    other = eqx.tree_at(lambda p: p.function.targets, state.policy, state.policy.function.targets + 1)
    searched = []

    def improve(self, last, *rest, newcomers, **more):
        searched.append(newcomers)
        return _doubled(other), Found(other.function, 7.0, 3, False, 2)

    monkeypatch.setattr(PILCO, "improve", improve)
    monkeypatch.setattr(PILCO, "_notes", lambda *rest: ())
    monkeypatch.setattr(type(env.task), "solved", lambda self, trajectory: jnp.array(solved))
    for solved, share, saving, stays in (
        (True, 1.1, 0.0, True),
        (True, 0.95, 0.0, False),
        (True, 0.95, 0.1, True),
        (True, 0.85, 0.1, False),
        (False, 2.0, 0.1, False),
    ):
        trial = collect(env, state.policy, steps=None, key=jr.split(jr.key(5), 3)[0])
        expected = types.SimpleNamespace(cost=np.full(101, -share * float(np.sum(trial.reward)) / len(trial)))
        monkeypatch.setattr(pilco, "imagine_compiled", lambda *rest, expected=expected, **more: expected)
        monkeypatch.setattr(PILCO, "imagined", lambda *rest, key, expected=expected: expected)
        settings = dataclasses.replace(SMALL, saving=saving)
        after, info = settings.iterate(state, env, key=jr.key(5))
        kept = state.policy if stays else other
        for a, b in zip(jax.tree.leaves(after.policy), jax.tree.leaves(kept), strict=True):
            np.testing.assert_array_equal(a, b)
        assert info.metrics["predicted_cost"] == (float(state.predicted) if stays else 7.0)
        assert searched.pop() == (0 if solved else SMALL.newcomers)
        assert info.metrics["expected_cost"] == pytest.approx(-share * float(np.sum(trial.reward)))


def test_units_of_a_circle_do_not_depend_on_how_little_of_it_was_seen():
    """A pole that hardly swung: its cosine is -1, spread 1e-3, and a center there would be at -1,000 of its units."""
    angle = jnp.linspace(-0.05, 0.05, 50)
    features = np.asarray(jax.vmap(StateSpace(2, angles=(1,)).features)(jnp.stack([40 * angle, jnp.pi + angle], 1)))
    np.testing.assert_allclose(units(features, StateSpace(2, angles=(1,))), [np.std(40 * angle), *[0.5**0.5] * 2], 1e-4)
    np.testing.assert_allclose(units(features, StateSpace(3)), np.std(features, 0), atol=2e-6)


@pytest.mark.parametrize("what", ["fit", "search"])
def test_numbers_that_are_not_finite_end_the_round(monkeypatch, what):
    """The run then ends with a message, and what was learned before stays."""
    if what == "fit":
        failed = types.SimpleNamespace(result=int(Result.not_finite), metrics={})
        monkeypatch.setattr(pilco, "fit_dynamics", lambda *args, **more: (None, failed))
    else:
        monkeypatch.setattr(pilco, "expected_cost", lambda function, *more: (np.nan, function))
    env = open_env("forethought/CartPoleSwingUp-v0")
    with pytest.raises(NumericalFailure, match="not finite"):
        SMALL.iterate(SMALL.init(env, key=jr.key(0)), env, key=jr.key(1))
