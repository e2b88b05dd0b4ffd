import importlib

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.on_policy import vector_run
from forethought.core import Categorical, UsageError
from forethought.envs.arcade.atari import AtariGame, atari_env, title_of
from forethought.envs.random_actions import RandomActions
from forethought.policies.acting import Acting


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("ale_py")
    env = ft.open_env("ALE/Pong-v4")
    yield env
    env.close()


class Random6(eqx.Module):
    """Uniform over six actions."""

    def __call__(self, x):
        return Categorical(jnp.zeros(6))

    def draw(self, *, key):
        return self


def test_observations_are_the_last_four_pictures(env):
    episode = env.run(RandomActions(env.task.action_space), key=jr.key(0), steps=40)
    assert episode.x.shape == (40, 4, 84, 84) and episode.x.dtype == np.uint8
    np.testing.assert_array_equal(episode.x_next[:, :3], episode.x[:, 1:])
    assert env.task.horizon == 27_000 and env.task.action_space.n == 6


def test_an_episode_depends_on_its_keys_alone(env):
    controller = RandomActions(env.task.action_space)
    first, again, other = (env.run(controller, key=jr.key(key), steps=40) for key in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True))
    assert not np.array_equal(first.x, other.x)


def test_a_share_of_the_actions_is_random():
    pytest.importorskip("ale_py")

    def pictures(epsilon):
        game = AtariGame("pong", epsilon=epsilon)
        xs = [game.reset(seed=0)[0], *(game.step(0)[0] for _ in range(30))]
        game.close()
        return np.stack(xs)

    never, always = pictures(0.0), pictures(1.0)
    np.testing.assert_array_equal(never[0], always[0])
    assert not np.array_equal(never, always)
    with pytest.raises(ValueError, match="epsilon"):
        AtariGame("pong", epsilon=1.5)


def test_the_vector_gives_streams_of_steps(env):
    run = vector_run(env, Acting(Random6()), 2, keep=False, key=jr.key(0))
    for _ in range(70):
        run.step()
    steps = run.streams()
    assert steps.x.shape == (70, 2, 4, 84, 84) and run.recorded == 0
    over = steps.terminated | steps.truncated
    same = (steps.x[1:] == steps.x_next[:-1]).all((-1, -2, -3))
    assert same[~over[:-1]].all()
    assert not np.array_equal(steps.x[-1, 0], steps.x[-1, 1])
    assert sum(map(len, run.cut())) == 140 and run.cut()[0].x.shape[1:] == (0,)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("ALE/Pongg-v5", "did you mean 'ALE/Pong-v5'"),
        ("ALE/Pong-v3", "ALE/Pong-v5 has sticky actions, ALE/Pong-v4 has none"),
        ("ALE/Pong", "ALE/Pong-v5 has sticky actions"),
    ],
)
def test_a_wrong_id_is_answered_with_the_nearest_one(wrong, hint):
    pytest.importorskip("ale_py")
    with pytest.raises(UsageError, match=hint):
        ft.open_env(wrong)


def test_names_of_games():
    assert title_of("ms_pacman") == "MsPacman"


def test_a_missing_extra_is_answered_with_the_command(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"pip install 'forethought\[atari\]'"):
        atari_env("ALE/Pong-v5")
