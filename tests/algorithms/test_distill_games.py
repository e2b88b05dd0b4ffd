"""One student of two small games: it learns from its experts, by every loss, with a head for each game."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms import distill_games as module
from forethought.algorithms.distill_games import DistillGames
from forethought.algorithms.pets import PETS
from forethought.algorithms.ppo_images import PPOImages
from forethought.core import Discrete, Observations, Spaces, UsageError
from forethought.envs.env import collect
from forethought.learners.task_heads import Labeled, losses
from forethought.policies.heads import TaskHeads
from tests.envs.toy_games import DotExpert, dot_game

GAMES = {"toy/Two-v0": dot_game("toy/Two-v0", 2, 1), "toy/Three-v0": dot_game("toy/Three-v0", 3, 2)}
FIRST, SECOND = GAMES.values()
EXPERTS = (DotExpert(2), DotExpert(3))
SETTINGS = DistillGames(
    games=tuple(GAMES),
    experts=(PPOImages(), PPOImages()),
    environments=8,
    steps=64,
    round_steps=512,
    batch=32,
    learning_rate=1e-2,
    units=16,
)


@pytest.fixture(autouse=True)
def games(monkeypatch):
    monkeypatch.setattr(module, "open_game", GAMES.__getitem__)


@pytest.fixture(scope="module")
def begun():
    """The state before the first round, with experts that know the games."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "open_game", GAMES.__getitem__)
        return dataclasses.replace(SETTINGS.init(FIRST, key=jr.key(0)), experts=EXPERTS)


def trained(settings, state, rounds=2):
    told = []
    for i in range(rounds):
        state, info = settings.iterate(state, FIRST, key=jr.key(i))
        told.append(info)
    return state, told


def test_a_learning_rate_that_has_fallen_to_zero_changes_nothing(begun):
    """512 steps of each game, one round: after it the student stays as it is; without decay it does not."""
    arrays = []
    for decay_steps in (512, None):
        settings = dataclasses.replace(SETTINGS, decay_steps=decay_steps)
        state = dataclasses.replace(begun, memory=settings.heads_fit.init(begun.student))
        state, _ = settings.iterate(state, FIRST, key=jr.key(0))
        again, _ = settings.iterate(state, FIRST, key=jr.key(1))
        arrays.append([jax.tree.leaves(eqx.filter(one.student, eqx.is_inexact_array)) for one in (state, again)])
    (done, still), (before, after) = arrays
    assert all(np.array_equal(a, b) for a, b in zip(done, still, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(done, before, strict=True))


@pytest.mark.parametrize("loss", ["kl", "nll", "mse"])
def test_a_student_plays_both_games_as_well_as_the_experts(loss, begun):
    settings = dataclasses.replace(SETTINGS, loss=loss)
    state, told = trained(settings, begun)
    for env in GAMES.values():
        assert collect(env, settings.controller(state, env), key=jr.key(9)).reward.sum() == 8
        assert collect(env, settings.expert(state, env), key=jr.key(9)).reward.sum() == 8
    first, last = told[0].metrics, told[-1].metrics
    assert last["disagreement_Two"] == last["disagreement_Three"] == 0 and last["loss_Three"] < first["loss_Three"]
    assert told[0].summary.steps == 2 * 512 and told[0].episodes == []


def test_the_first_round_compares_experts_with_random_actions(begun):
    bad = dataclasses.replace(begun, experts=(DotExpert(2), DotExpert(3, skill=-5.0)))
    _, (info,) = trained(SETTINGS, bad, rounds=1)
    assert info.metrics["expert_return_Two"] > 7 > 5.5 > info.metrics["random_return_Two"] > 2.5
    (note,) = info.notes
    assert note.startswith("the expert's return on toy/Three-v0, 0") and "no better than that of random actions" in note


def test_rounds_are_deterministic(begun):
    one, other = (trained(SETTINGS, begun, rounds=1)[0] for _ in range(2))
    same = jax.tree.map(
        lambda a, b: bool(np.array_equal(a, b)), jax.tree.leaves(one.student), jax.tree.leaves(other.student)
    )
    assert all(same)


def test_a_game_without_weight_is_not_learned(begun):
    state, _ = trained(dataclasses.replace(SETTINGS, weights=(1.0, 0.0)), begun, rounds=1)
    weights = [[s.student.heads[k].network.weights[0] for s in (begun, state)] for k in (0, 1)]
    assert not np.allclose(*weights[0])
    np.testing.assert_array_equal(*weights[1])


def test_the_expert_may_act(begun):
    _, (info,) = trained(dataclasses.replace(SETTINGS, data="teacher"), begun, rounds=1)
    assert info.metrics["return_Two"] > 7 and info.metrics["return_Three"] > 7


def test_losses_are_those_of_the_definitions(begun):
    student, (x, v) = begun.student, (jnp.stack([FIRST.system.image(1)] * 2), jnp.array([[1.0, -1.0], [0.0, 2.0]]))
    z = np.asarray(student.policy(0)(x[0]).logits, np.float64)
    log_q = z - np.log(np.exp(z).sum())
    log_p = np.asarray(v / 0.5) - np.log(np.exp(v / 0.5).sum(1, keepdims=True))
    kl = (np.exp(log_p) * (log_p - log_q)).sum(1).mean()
    nll = -log_q[np.argmax(v, axis=1)].mean()
    other = SECOND.system.image(0)[None]
    rows = (Labeled(x, v), Labeled(other, jnp.zeros((1, 3))))
    for name, expected in (("kl", kl), ("nll", nll)):
        total, told = losses(dataclasses.replace(SETTINGS, loss=name, temperature=0.5).heads_fit, student, rows)
        np.testing.assert_allclose(told["loss"][0], expected, rtol=1e-4)
        np.testing.assert_allclose(total, told["loss"].mean(), rtol=1e-6)


def test_channels_that_a_game_lacks_are_zeros(begun):
    policy, x = begun.student.policy(0), FIRST.system.image(1)
    assert begun.student.trunk.inputs.observations.shape == (4, 4, 2)
    padded = jnp.concatenate([x, jnp.zeros_like(x)], axis=-1)
    np.testing.assert_array_equal(policy(x).logits, policy(padded).logits)
    assert policy(x).logits.shape == (2,) and begun.student.policy(1)(padded).logits.shape == (3,)


def test_what_does_not_fit_is_refused(begun):
    with pytest.raises(UsageError, match="this student plays toy/Two-v0, toy/Three-v0, and not toy/Other-v0"):
        SETTINGS.controller(begun, dot_game("toy/Other-v0", 2, 1))
    with pytest.raises(UsageError, match="not by PETS"):
        module.policy_of(PETS(), None)
    with pytest.raises(ValueError, match="weights must be one for each"):
        dataclasses.replace(SETTINGS, weights=(1.0,))
    with pytest.raises(ValueError, match="temperature must be positive"):
        DistillGames(temperature=0.0)
    with pytest.raises(ValueError, match="decay_steps must be positive, got 0"):
        DistillGames(decay_steps=0)
    sizes = [Spaces(Observations((side, side, 1), "bool"), Discrete(2)) for side in (4, 5)]
    with pytest.raises(UsageError, match="images of one size"):
        TaskHeads.init(sizes, units=4, who="test", key=jr.key(0))


def test_experts_are_those_of_the_runs_and_the_student_is_smaller(begun):
    teachers = [PPOImages().init(env, key=jr.key(k)) for k, env in enumerate(GAMES.values())]
    taught = SETTINGS.with_teachers(begun, teachers)
    for expert, teacher in zip(taught.experts, teachers, strict=True):
        np.testing.assert_array_equal(expert.head.network.weights[0], teacher.learner.policy.head.network.weights[0])
    large = dataclasses.replace(SETTINGS, units=1024)
    with pytest.raises(
        UsageError, match=r"the student has [\d,]+ parameters and its teachers together [\d,]+: give it"
    ):
        large.with_teachers(large.init(FIRST, key=jr.key(0)), teachers)
