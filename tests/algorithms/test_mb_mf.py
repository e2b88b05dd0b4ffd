"""MB-MF: its phases in order, what is imitated, exact resume; and a policy to start from."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.demonstrations import actions_along
from forethought.algorithms.mb_mf import MBMF
from forethought.algorithms.ppo import PPO
from forethought.algorithms.protocol import StartsFromPolicy
from forethought.algorithms.sac import SAC
from forethought.cli.main import main
from forethought.core import UsageError
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.learners.sac import SACLearner
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.report.phases import phase_sections
from forethought.runs.starting_policy import StartingPolicy
from tests.algorithms.test_pets import system

NAME = "forethought/PendulumSwingUp-v0"
pytestmark = pytest.mark.filterwarnings("ignore:note")  # without progress, notes are warnings
FREE = SAC(SACLearner(hidden=(8,), batch=16), random_steps=10, block=5, round_steps=20, capacity=1000)
SMALL = MBMF(
    model=Ensemble(members=2, hidden=(8,), max_epochs=5, batch=16),
    planner=CEM(horizon=3, population=8, elites=3, iterations=2, particles=2),
    fine_tuning=FREE,
    cloning=BehaviorCloning(updates=100, batch=32),
    model_steps=150,
    imitation_rounds=2,
    imitation_steps=10,
)


HOW = {"seed": 3, "progress": False}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of one round, whose actions are random."""
    return ft.train(SMALL, NAME, iterations=1, out=tmp_path_factory.mktemp("runs") / "first", **HOW)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of five rounds: two model-based, two of imitation, one model-free."""
    return ft.train(SMALL, NAME, iterations=5, out=tmp_path_factory.mktemp("runs") / "whole", **HOW)


@pytest.mark.slow
def test_the_phases_follow_each_other_and_the_report_shows_them(whole):
    assert [line["phase"] for line in whole.metrics] == [1, 1, 2, 2, 3]
    assert whole.metrics[2]["imitation_error"] > 0 and "critic_loss" in whole.metrics[4]
    state = whole.state
    assert int(state.model_based.buffer.size) == 400
    assert int(state.demonstrations.size) == 100 + 200  # half of phase 1, and two rounds of phase 2
    newest = state.model_based.buffer.data.u[100:200]
    np.testing.assert_array_equal(state.demonstrations.data["u"][:100], newest)
    assert int(state.model_free.buffer.size) == 400 + 20  # the experience of all phases, and its own
    (section,) = phase_sections(whole.metrics)
    assert [row[:3] for row in section.table.rows] == [
        ("1: model-based", "2", "200"),
        ("2: imitation", "2", "200"),
        ("3: model-free", "1", "120"),
    ]
    assert phase_sections([{"iteration": 1}]) == []
    assert whole.act(np.zeros(2)).shape == (1,)


@pytest.mark.slow
def test_an_interrupted_run_resumes_exactly(whole, tmp_path):
    ft.train(SMALL, NAME, iterations=3, out=tmp_path / "run", **HOW)
    parts = ft.train(SMALL, NAME, iterations=5, out=tmp_path / "run", resume=True, **HOW)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="imitated_share must be between 0 and 1"):
        MBMF(imitated_share=share)


class Counting:
    """A controller whose action is the number of its steps, plus the state."""

    def init(self, x0, *, key):
        return jnp.zeros(())

    def act(self, x, t, carry, *, key):
        return x[:1] + carry + 100.0 * t, carry + 1


def test_the_controller_names_its_actions_along_an_episode_with_its_memory():
    env = system()
    episode = env.run(ft.MPC(CEM(horizon=2, population=4, elites=2), env.problem), key=jr.key(0))
    actions = actions_along(Counting(), episode, key=jr.key(0))
    np.testing.assert_allclose(actions[:, 0], episode.x[:, 0] + 101.0 * np.arange(len(episode)), rtol=1e-6)


def test_sac_starts_from_a_policy_of_the_same_network(tmp_path):
    source = ft.train(FREE, NAME, iterations=1, out=tmp_path / "source", **HOW)
    run = ft.train(FREE, NAME, iterations=1, out=tmp_path / "run", init_policy=source.path, progress=False)
    algorithm = SAC(FREE.learner, round_steps=5)
    assert isinstance(algorithm, StartsFromPolicy)
    assert run.info["init_policy"] == str(source.path)
    env = source.env
    start = StartingPolicy.of(FREE, env, source.path)
    state, notes = start.add_to(FREE, FREE.init(env, key=jr.key(0)), env, key=jr.key(1))
    jax.tree.map(np.testing.assert_array_equal, FREE.policy_of(state), FREE.policy_of(source.state))
    assert int(state.steps) == FREE.random_steps and "starts from the policy of" in notes[0]
    shutil.rmtree(source.path)  # the checkpoints of the new run contain what was taken over
    resumed = ft.train(FREE, NAME, iterations=2, out=run.path, resume=True, progress=False)
    assert resumed.info["init_policy"] == str(source.path) and resumed.progress.iteration == 2


def test_a_planning_controller_is_imitated_and_the_run_resumes_without_the_flag(first, tmp_path):
    how = {"seed": 1, "progress": False, "out": tmp_path / "run"}
    ft.train(FREE, NAME, iterations=1, init_policy=first.path, **how)
    resumed = ft.train(FREE, NAME, iterations=2, resume=True, **how)
    assert resumed.info["init_policy"] == str(first.path)


def test_what_cannot_be_a_first_policy_is_refused_in_one_line(first, tmp_path, capsys):
    words = f"train sac Pendulum-v1 --iterations 1 --out {tmp_path / 'a'} --init-policy {first.path}"
    assert main(words.split()) == 2
    said = capsys.readouterr().err.strip()
    assert "has observations of 2 and actions of 1 numbers; Pendulum-v1 has observations of 3" in said
    assert "\n" not in said and not (tmp_path / "a").exists()
    with pytest.raises(
        UsageError, match="an initial policy is for policy-gradient, ppo, ppo-images, sac; PETS does not"
    ):
        ft.train(ft.PETS(), NAME, iterations=1, out=tmp_path / "b", init_policy=first.path)
    with pytest.raises(UsageError):
        ft.train(FREE, NAME, iterations=1, out=tmp_path / "c", init_policy=tmp_path / "nothing")
    with pytest.raises(UsageError, match="MB-MF needs continuous actions"):
        SMALL.init(ft.open_env("CartPole-v1"), key=jr.key(0))


def test_fine_tuning_is_chosen_by_name(monkeypatch):
    import forethought.runs.driver

    calls = []

    class Run:
        path = "runs/somewhere"

    monkeypatch.setattr(forethought.runs.driver, "train", lambda *given, **_: calls.append(given[0]) or Run())
    assert main("train mb-mf E-v0 --env-steps 9 --fine-tuning ppo --planner.horizon 7 --model-steps 300".split()) == 0
    assert calls == [MBMF(fine_tuning=PPO(), planner=CEM(horizon=7), model_steps=300)]
    assert dataclasses.replace(SMALL, fine_tuning=PPO()).fine_tuning == PPO()
