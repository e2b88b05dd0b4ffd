"""Our systems as Gymnasium environments."""

import subprocess
import sys
import warnings

import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from forethought.core import UsageError
from forethought.envs.drawing.renderers import HEIGHT, WIDTH, Window, load_pygame
from forethought.envs.shipped import NAMESPACE, SHIPPED, shipped

every_system = pytest.mark.parametrize("name", SHIPPED)


@pytest.mark.parametrize(
    "code",
    [
        "import forethought; import gymnasium",
        "import gymnasium; import forethought",
        "import gymnasium.envs.registration, forethought; import forethought.envs",
    ],
)
def test_importing_registers_in_either_order_and_without_jax(code):
    wanted = {NAMESPACE + name for name in SHIPPED}
    code += f"; import sys; print('jax' in sys.modules, {wanted} <= set(gymnasium.registry))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True"], done.stderr


@every_system
def test_passes_the_environment_checker(name, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make(NAMESPACE + name)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Box observation space (min|max)imum value is -?infinity")  # states are
        warnings.filterwarnings("ignore", ".*Box action spaces.*symmetric and normalized")  # units are physical
        check_env(env.unwrapped)
    env.close()


@every_system
def test_the_table_agrees_with_the_task(name):
    system, spec = shipped(name), gym.spec(NAMESPACE + name)
    assert spec.max_episode_steps == SHIPPED[name].horizon == system.task.horizon
    assert system.name == NAMESPACE + name
    assert system.task.initial(key=jr.key(0)).shape == (len(SHIPPED[name].names),)


@every_system
def test_an_episode_is_that_of_the_system(name):
    env = gym.make(NAMESPACE + name)
    problem, (x, _) = env.unwrapped.system.problem, env.reset(seed=3)
    env.action_space.seed(0)
    expect = jax.jit(lambda x, u, t: (problem.dynamics(x, u, t).mean, -problem.task.cost(x, u, t)))
    for t in range(3):
        u = env.action_space.sample()
        expected_x, expected_reward = expect(jnp.array(x), jnp.array(u), jnp.array(t))
        x, reward, terminated, truncated, _ = env.step(u)
        np.testing.assert_allclose(x, expected_x, atol=1e-4)
        np.testing.assert_allclose(reward, expected_reward, atol=1e-5)
        assert not terminated and not truncated


def test_the_clock_truncates_and_seeds_repeat():
    def returns(seed):
        env = gym.make("forethought/CartPoleSwingUp-v0")
        env.reset(seed=seed)
        rewards, over = [], False
        while not over:
            _, reward, terminated, over, _ = env.step(np.array([3.0], np.float32))
            rewards.append(reward)
            assert not terminated
        return rewards

    first = returns(0)
    assert len(first) == 40
    assert first == returns(0) != returns(1)


def test_actions_are_clipped_and_bad_ones_refused():
    env = gym.make("forethought/CartPoleSwingUp-v0").unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(1, np.float32))
    strong, full = [], []
    for force, out in ((99.0, strong), (10.0, full)):
        env.reset(seed=0)
        out.append(env.step(np.array([force], np.float32))[0])
    np.testing.assert_array_equal(strong, full)
    for bad in (np.array([np.nan], np.float32), np.zeros(2, np.float32)):
        with pytest.raises(ValueError, match="finite numbers"):
            env.step(bad)


@every_system
def test_pictures_show_the_state(name):
    env = gym.make(NAMESPACE + name, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (HEIGHT, WIDTH, 3) and first.dtype == np.uint8
    drawn = (first != first[-1, 0]).any(-1).mean()
    assert 0.01 < drawn < 0.5
    for _ in range(5):
        env.step(env.action_space.high)
    moved = env.render()
    assert (moved != first).any(-1).mean() > 0.002
    np.testing.assert_array_equal(moved, env.render())


def test_a_run_away_system_still_draws():
    for name in SHIPPED:
        system = shipped(name)
        x = np.full(len(SHIPPED[name].names), 1e6)
        assert system.picture(x, np.asarray(system.task.action_space.high), 0.0).shape == (HEIGHT, WIDTH, 3)


def test_pictures_are_drawn_after_another_environment_closed_pygame():
    system = shipped("PendulumSwingUp-v0")
    x, u = np.zeros(2), np.zeros(1)
    before = system.picture(x, u, 0.0)
    load_pygame().quit()
    np.testing.assert_array_equal(system.picture(x, u, 0.0), before)


def test_a_window_opens_and_closes(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = gym.make("forethought/PendulumSwingUp-v0", render_mode="human")
    env.reset(seed=0)
    env.step(np.zeros(1, np.float32))
    assert env.render() is None
    env.close()
    env.close()


def test_without_a_display_the_way_out_is_told(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    load_pygame().display.quit()  # other environments may have opened it
    with pytest.raises(UsageError, match="rgb_array"):
        Window("x", fps=10.0)
