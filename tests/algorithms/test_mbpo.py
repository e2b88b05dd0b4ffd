"""MBPO: its rollouts against known systems, its learner against SAC, its schedule, and exact resume."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
import forethought.runs.driver
from forethought.algorithms.branched_rollouts import (
    BranchedRollouts,
    bounds_of,
    branch,
    require_plausible,
)
from forethought.algorithms.mbpo import MBPO, mixed_batch
from forethought.algorithms.model_learning import ModelLearning
from forethought.algorithms.protocol import Algorithm
from forethought.algorithms.sac import SAC
from forethought.algorithms.value_gradients import ValueGradients
from forethought.cli.main import main
from forethought.core import Box, Buffer, Delta, NumericalFailure, Problem, Transition, UsageError
from forethought.envs.env import spaces_of
from forethought.learners.off_policy import OffPolicyLearner
from forethought.learners.ppo import PPOLearner
from forethought.learners.sac import SACLearner
from forethought.models.ensemble import Ensemble
from tests.algorithms.test_model_free import gym_env, rounds
from tests.algorithms.test_pets import Hidden, system
from tests.envs.test_parallel import ENV
from tests.linear import Linear, QuadraticTask, double_integrator

LEARNER = SACLearner(hidden=(8,), batch=16)
SMALL = MBPO(
    learner=LEARNER,
    model=Ensemble(members=2, hidden=(8,), max_epochs=5, batch=16),
    rollouts=BranchedRollouts(first_length=2, last_length=2, batch=8, capacity=80, per_step=4.0),
    updates_per_step=1.0,
    retrain_every=10,
    random_steps=10,
    block=5,
    round_steps=20,
)
SIZE = 16  # rollouts side by side


class Pushing(eqx.Module):
    """A policy with one constant action."""

    push: float

    def __call__(self, x):
        return Delta(jnp.full(1, self.push))

    def draw(self, *, key):
        return self


def experience(count=50, scale=0.5, terminal_beyond=np.inf):
    """Transitions of the double integrator from states of this spread."""
    xs, us = scale * jr.normal(jr.key(0), (count, 2)), jr.uniform(jr.key(1), (count, 1), minval=-1)
    A, B = double_integrator().A, double_integrator().B
    x_next = xs @ A.T + us @ B.T
    flags = jnp.abs(x_next[:, 0]) > terminal_beyond
    rewards = -jnp.sum(xs**2, axis=1) - 0.1 * us[:, 0] ** 2
    return Buffer.like(spaces_of(ENV).example(), 64, ring=True).append(
        Transition(xs, us, x_next, rewards, flags, jnp.zeros(count, bool))
    )


def branched(problem, policy, *, length, batches=2, margin=1.0, scale=0.5):
    real = experience(scale=scale)
    ring = Buffer.like(spaces_of(ENV).example(), 400, ring=True)
    bounds = bounds_of(real, margin, 0)
    imagined, counts = branch(
        problem, policy, real, bounds, ring, SIZE, jnp.asarray(batches), jnp.asarray(length), jr.key(2)
    )
    return real, imagined.rows(), counts, bounds


def test_rollouts_of_length_one_from_a_known_model_are_its_transitions():
    task = QuadraticTask()
    real, rows, counts, _ = branched(Problem(double_integrator(), task), Pushing(0.5), length=1)
    A, B = double_integrator().A, double_integrator().B
    np.testing.assert_allclose(rows.x_next, rows.x @ A.T + rows.u @ B.T, atol=1e-6)
    np.testing.assert_allclose(rows.reward, -np.sum(np.square(rows.x), axis=1) - 0.1 * 0.25, rtol=1e-5)
    known = {tuple(x) for x in np.asarray(real.rows().x).tolist()}
    assert all(tuple(x) in known for x in np.asarray(rows.x).tolist())
    assert (int(counts.started), int(counts.kept), int(counts.ended), int(counts.cut)) == (32, 32, 0, 0)


def test_longer_rollouts_go_on_from_where_they_came():
    _, rows, counts, _ = branched(Problem(double_integrator(), QuadraticTask()), Pushing(0.0), length=3, margin=5.0)
    assert len(rows) == 96 == int(counts.kept)
    ends, later = np.asarray(rows.x_next[:SIZE]), np.asarray(rows.x[SIZE : 2 * SIZE])
    np.testing.assert_allclose(np.sort(ends, axis=0), np.sort(later, axis=0))  # in another order


def test_nothing_goes_on_from_a_terminal_state():
    """A push to the right, and an edge that many rollouts come to."""
    edge = Problem(double_integrator(), QuadraticTask(edge=0.6))
    _, rows, counts, _ = branched(edge, Pushing(1.0), length=8, scale=0.2, margin=50.0)
    assert int(counts.ended) == int(rows.terminated.sum()) > 0
    np.testing.assert_array_equal(rows.terminated, np.abs(rows.x_next[:, 0]) > 0.6)
    assert np.sum(np.abs(np.asarray(rows.x)[:, 0]) > 0.6) <= np.sum(
        np.abs(np.asarray(experience(scale=0.2).data.x)[:, 0]) > 0.6
    )
    assert int(counts.kept) < 32 * 8 and int(counts.cut) == 0


def test_a_diverging_model_is_cut_off_and_told_with_numbers():
    unstable = Problem(Linear(3.0 * jnp.eye(2), jnp.zeros((2, 1))), QuadraticTask())
    real, rows, counts, bounds = branched(unstable, Pushing(0.0), length=6)
    assert np.all(np.asarray(rows.x_next) <= np.asarray(bounds.high)) and len(rows) == int(counts.kept)
    assert int(counts.cut) == 32
    with pytest.raises(NumericalFailure, match=r"32 of 32 imagined rollouts \(100%\).*within 6 steps.*random-steps"):
        require_plausible(counts, BranchedRollouts(), 6, ("position", "speed"))
    some = eqx.tree_at(lambda c: c.cut, counts, jnp.asarray(3))
    (note,) = require_plausible(some, BranchedRollouts(), 6, ("position", "speed"))
    assert "3 of 32" in note and "more than 1 times" in note and ("position" in note or "speed" in note)
    infinite = Problem(Linear(jnp.full((2, 2), jnp.nan), jnp.zeros((2, 1))), QuadraticTask())
    _, rows, counts, _ = branched(infinite, Pushing(0.0), length=6)
    assert len(rows) == 0 and int(counts.cut) == 32


def test_the_bounds_are_the_range_of_the_data_and_a_margin():
    real = experience()
    data = np.concatenate([real.rows().x, real.rows().x_next])
    low, high = data.min(0), data.max(0)
    bounds = bounds_of(real, 2.0, 1)
    np.testing.assert_allclose(bounds.low[:2], low - 2 * (high - low), rtol=1e-2)
    np.testing.assert_allclose(bounds.high[:2], high + 2 * (high - low), rtol=1e-2)
    rewards = np.asarray(real.rows().reward)
    np.testing.assert_allclose(bounds.high[2], rewards.max() + 2 * np.ptp(rewards), rtol=1e-2)


def test_with_real_rows_only_the_learner_is_sac():
    """Same keys, same episodes: the states of both learners agree after two rounds; no model is fitted."""
    shared = {"learner": LEARNER, "random_steps": 10, "block": 5, "round_steps": 20, "capacity": 1000}
    sac, _ = rounds(SAC(**shared), gym_env(), 2)
    mbpo, infos = rounds(MBPO(**shared, real_ratio=1.0, updates_per_step=1.0), gym_env(), 2)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), sac.learner, mbpo.learner)
    assert int(mbpo.fitted) == -1 and "rollout_length" not in infos[-1].metrics


@pytest.mark.parametrize("acting", ["sampled", "mode"])
def test_real_actions_are_sampled_or_the_mode(acting):
    algorithm = dataclasses.replace(SMALL, acting=acting, updates_per_step=0.0, real_ratio=1.0, round_steps=10)
    state = algorithm.init(ENV, key=jr.key(0))
    for number in range(2):  # the first round's actions are random
        state, info = algorithm.iterate(state, ENV, key=jr.key(number))
    episode, policy = info.episodes[0], algorithm.learner.policy(state.learner)
    modes = eqx.filter_jit(jax.vmap(lambda x: policy(x).mode))(jnp.asarray(episode.x))
    assert np.allclose(modes, episode.u, atol=1e-5) == (acting == "mode")


def test_a_batch_has_the_share_of_real_rows():
    real = experience()
    imagined = jax.tree.map(lambda a: a, real)
    imagined = eqx.tree_at(lambda b: b.data.reward, imagined, jnp.full(64, 7.0))
    draw = eqx.filter_jit(mixed_batch)
    for rows in (0, 5, 16):
        batch = draw(real, imagined, rows, 16, key=jr.key(0))
        assert int(jnp.sum(batch.reward == 7.0)) == 16 - rows


def test_the_scale_of_the_reward_does_not_matter_to_the_dynamics():
    """Targets are standardized one by one: with rewards times 100, the errors of the dynamics stay."""
    env, errors = system(Hidden), []
    learning = ModelLearning(Ensemble(members=2, hidden=(16,), max_epochs=8, batch=16))
    fit = ModelLearning.fit
    for scale in (1.0, 100.0):
        buffer = experience()
        buffer = eqx.tree_at(lambda b: b.data.reward, buffer, scale * buffer.data.reward)
        learned, report = fit(learning, buffer, learning.init(env, key=jr.key(0)), key=jr.key(1))
        errors.append(np.asarray(report.dynamics.holdout_error))
    np.testing.assert_allclose(errors[1][:, :2], errors[0][:, :2], rtol=0.01)
    np.testing.assert_allclose(errors[1][:, 2], 100 * errors[0][:, 2], rtol=0.01)


def test_the_schedule_is_that_of_the_paper_and_is_applied():
    hopper = BranchedRollouts(last_length=15)
    lengths = [hopper.length(s) for s in (0, 20_000, 29_285, 29_286, 100_000, 150_000, 10**6)]
    assert lengths == [1, 1, 1, 2, 9, 15, 15]  # Janner et al. (2019): 1 + 14 (epoch - 20) / 130, rounded down
    assert hopper.batches(0, 250) == 50 and hopper.batches(150_000, 250) == 400_000 // (15 * 2000)
    growing = BranchedRollouts(last_length=3, growth_start=0, growth_end=40, batch=8, capacity=80, per_step=4.0)
    state, infos = rounds(dataclasses.replace(SMALL, rollouts=growing), ENV, 2)
    assert [info.metrics["rollout_length"] for info in infos] == [1.0, 3.0]
    assert any("rollouts have 1 steps now, and 3 from 40 real steps" in note for note in infos[0].notes)


def test_a_schedule_that_cannot_end_within_the_run_is_refused(tmp_path):
    algorithm = MBPO(rollouts=BranchedRollouts(last_length=15))
    with pytest.raises(
        UsageError, match="grow to 15 steps at 150,000.*has 100,000.*have 9: give --rollouts.last-length 9"
    ):
        ft.train(algorithm, ENV, env_steps=100_000, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    remedy = BranchedRollouts(last_length=9, growth_end=94_286)
    remedy.check_budget(100_000)
    assert [remedy.length(s) for s in (29_286, 60_000)] == [2, BranchedRollouts(last_length=15).length(60_000)]
    with pytest.raises(UsageError, match="last-length 1, or --env-steps 150000"):
        algorithm.check_budget(10_000)
    with pytest.raises(UsageError, match="first 5,000 steps are random, and the run has 5,000.*--random-steps 500"):
        algorithm.check_budget(5000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mbpo", "value-gradients"])
def test_a_run_resumes_exactly(name, tmp_path):
    """Reward and termination learned; three rounds, and two and one after an interruption."""
    env = system(Hidden, edge=1.5)
    algorithm = SMALL
    if name == "value-gradients":
        shared = {field.name: getattr(SMALL, field.name) for field in dataclasses.fields(ValueGradients)}
        learner = dataclasses.replace(LEARNER, critics=3, combine="mean", activation="silu", scale_values=True)
        algorithm = ValueGradients(**shared | {"learner": learner, "real_ratio": 0.0, "gradient_steps": 2})
    assert isinstance(algorithm, Algorithm)
    how = {"seed": 3, "progress": False}
    whole = ft.train(algorithm, env, iterations=3, out=tmp_path / "whole", **how)
    ft.train(algorithm, env, iterations=2, out=tmp_path / "parts", **how)
    parts = ft.train(algorithm, env, iterations=3, out=tmp_path / "parts", resume=True, **how)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    line = whole.metrics[-1]
    assert line["model_error"] is not None and line["imagined_transitions"] > 0 and line["cut_share"] <= 0.9
    assert {"policy_loss", "critic_loss", "fit_loss"} <= line.keys()
    assert int(whole.state.steps) == int(whole.state.buffer.size) == line["env_steps"]
    if name == "value-gradients":
        assert float(whole.state.learner.critic.scale) != 1.0


def test_unsuitable_environments_and_settings_are_refused():
    with pytest.raises(UsageError, match="MBPO needs continuous actions; this task has 2 discrete ones"):
        SMALL.init(ft.open_env("CartPole-v1"), key=jr.key(0))
    with pytest.raises(ValueError, match=r"rollouts.batch \(8\) must be a multiple of model.members \(3\)"):
        dataclasses.replace(SMALL, model=Ensemble(members=3))
    with pytest.raises(ValueError, match="real_ratio"):
        dataclasses.replace(SMALL, real_ratio=1.5)
    assert not isinstance(PPOLearner(), OffPolicyLearner) and isinstance(LEARNER, OffPolicyLearner)
    with pytest.raises(ValueError, match="growth_end"):
        BranchedRollouts(growth_start=5, growth_end=5)
    with pytest.raises(ValueError, match="must hold one batch of the longest rollouts, 2000 x 300"):
        BranchedRollouts(last_length=300)


def test_the_command_line(monkeypatch, capsys):
    calls = []

    class Run:
        path = "runs/somewhere"

    monkeypatch.setattr(forethought.runs.driver, "train", lambda *given, **_: calls.append(given[0]) or Run())
    words = (
        "train mbpo E-v0 --env-steps 9 --learner sac --learner.batch 50 --rollouts.last-length 4 --updates-per-step 9"
    )
    assert main(words.split()) == 0
    assert calls == [MBPO(SACLearner(batch=50), rollouts=BranchedRollouts(last_length=4), updates_per_step=9.0)]
    assert main("train value-gradients E-v0 --env-steps 9 --gradient-steps 5".split()) == 0
    assert calls[1] == ValueGradients(gradient_steps=5)


@pytest.mark.parametrize("kind", ["gym", "own"])
def test_the_policy_acts_within_the_limits(kind):
    env = ENV if kind == "own" else gym_env()
    state, infos = rounds(SMALL, env, 1)
    u, _ = SMALL.controller(state, env).act(jnp.ones(env.space.size), jnp.array(0), (), key=jr.key(0))
    box = env.task.action_space
    assert isinstance(box, Box) and bool(jnp.all((u >= box.low) & (u <= box.high)))
    assert infos[0].episodes[-1].truncated[-1]
