"""The textbook's mazes as Gymnasium environments, and transition tables as arrays."""

import warnings

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import forethought as ft
from forethought.core import UsageError
from forethought.envs.env import spaces_of
from forethought.envs.grids.mazes import MAZES, scaled
from forethought.envs.grids.tabular_mdp import TabularMDP, select
from forethought.envs.gym_env import GymEnv

UP, RIGHT, DOWN, LEFT = range(4)


@pytest.mark.parametrize("name", MAZES)
def test_passes_the_environment_checker_and_opens(name, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*render")
        check_env(gym.make(f"forethought/{name}").unwrapped)
    env = ft.open_env(f"forethought/{name}")
    spaces = spaces_of(env)
    assert isinstance(env, GymEnv) and spaces.observations.states == 54 and spaces.actions.n == 4
    assert spaces.observations.dtype == "int32"


def test_the_dyna_maze_is_that_of_the_textbook():
    env = gym.make("forethought/DynaMaze-v0").unwrapped
    walls = {tuple(cell) for cell in np.argwhere(env.desc == "#").tolist()}
    assert walls == {(1, 2), (2, 2), (3, 2), (0, 7), (1, 7), (2, 7), (4, 5)}  # Sutton & Barto (2018), figure 8.2
    assert env.reset(seed=0)[0] == 2 * 9 + 0
    path = [DOWN, DOWN, DOWN, *[RIGHT] * 8, UP, UP, UP, UP, UP]
    told = [env.step(a) for a in path]
    assert [reward for _, reward, *_ in told] == [0] * 15 + [1]
    assert told[-1][0] == 8 and told[-1][2] and not told[-2][2]


def test_walls_and_edges_leave_the_agent_where_it_is():
    env = gym.make("forethought/DynaMaze-v0").unwrapped
    env.reset(seed=0)
    assert [env.step(a)[0] for a in (LEFT, RIGHT, RIGHT, UP)] == [18, 19, 19, 10]


@pytest.mark.parametrize(("name", "change"), [("BlockingMaze-v0", 1000), ("ShortcutMaze-v0", 3000)])
def test_a_maze_changes_only_between_episodes(name, change):
    env = gym.make(f"forethought/{name}").unwrapped
    env.reset(seed=0, options={"elapsed_steps": change})
    before = env.desc.copy()
    for _ in range(5):
        env.step(UP)
    assert np.array_equal(env.desc, before)
    env.reset(seed=0)  # its own count is beyond the change
    assert not np.array_equal(env.desc, before)
    mdp = TabularMDP.of(env, horizon=10)
    assert [int(mdp.phase(jnp.int32(t))) for t in (0, change, change + 1)] == [0, 0, 1]


def test_scaled_mazes():
    rows = scaled(MAZES["DynaMaze-v0"].maps[0], 3)
    assert (len(rows), len(rows[0])) == (18, 27)
    text = "".join(rows)
    assert (text.count("G"), text.count("#"), text.count("S")) == (9, 63, 1) and rows[6][0] == "S"
    with pytest.raises(ValueError, match="scale must be at least 1"):
        gym.make("forethought/DynaMaze-v0", scale=0)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "Taxi-v4", "CliffWalking-v1"])
def test_tables_are_those_of_gymnasium(name):
    env = gym.make(name).unwrapped
    mdp = TabularMDP.of(env, horizon=100)
    values = np.random.default_rng(0).normal(size=mdp.states).astype(np.float32)
    backup = mdp.backup(0, jnp.asarray(values), 0.9)
    for s, a in ((0, 1), (14, 2), (mdp.states - 2, 3)):
        expected = sum(p * (r + (0 if over else 0.9 * values[s_next])) for p, s_next, r, over in env.P[s][a])
        np.testing.assert_allclose(backup[s, a], expected, rtol=1e-5)
    u = (np.arange(300, dtype=np.float32) + 0.5) / 300
    s_next, reward, _ = jax.vmap(lambda u: mdp.step(jnp.int32(0), jnp.int32(0), jnp.int32(1), u))(u)
    for target in set(np.asarray(s_next).tolist()):
        share = sum(p for p, s, *_ in env.P[0][1] if s == target)
        assert abs(np.mean(np.asarray(s_next) == target) - share) < 0.01


def test_select_never_selects_what_is_impossible():
    p = jnp.array([0.0, 0.3, 0.0, 0.7, 0.0])
    u = jnp.concatenate([jnp.linspace(0, 0.9999999, 100), jnp.array([np.nextafter(np.float32(1), np.float32(0))])])
    drawn = np.asarray(jax.vmap(lambda u: select(p, u))(u))
    assert set(drawn.tolist()) == {1, 3}


def test_an_environment_without_tables_is_refused():
    with pytest.raises(UsageError, match="no transition table"):
        TabularMDP.of(gym.make("CartPole-v1"), horizon=10)


def test_pictures(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("forethought/DynaMaze-v0", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(RIGHT)
    assert before.shape == (400, 640, 3) and np.any(before != env.render())
