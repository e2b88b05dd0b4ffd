"""The benchmark's cart-pole is the known one: Gymnasium's CartPole-v1 has the same physics, with two actions."""

import importlib.util
from pathlib import Path

import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

PATH = Path(__file__).parents[2] / "benchmarks" / "cartpole_balance.py"


@pytest.fixture(scope="module")
def balance():
    spec = importlib.util.spec_from_file_location("cartpole_balance", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_steps_are_those_of_cartpole(balance):
    reference, env = gym.make("CartPole-v1").unwrapped, balance.CartPoleBalance()
    rng = np.random.default_rng(0)
    for seed in range(5):
        expected, _ = reference.reset(seed=seed)
        x, _ = env.reset(seed=seed)
        np.testing.assert_allclose(x, expected, atol=1e-7)
        failed = False
        while not failed:
            action = int(rng.integers(2))
            expected, reward, failed, _, _ = reference.step(action)
            x, *rest = env.step(np.array([2.0 * action - 1], np.float32))
            np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
            assert rest == [reward, failed, False, {}]
            assert bool(balance.termination(jnp.asarray(x))) == failed


def test_half_an_action_is_half_the_force(balance):
    x = np.zeros(4)
    np.testing.assert_allclose(balance.advance(x, 0.5), 0.5 * balance.advance(x, 1.0))


@pytest.mark.filterwarnings("ignore:.*observation space .* value is -?infinity")
def test_environment_is_sound(balance):
    check_env(balance.CartPoleBalance(), skip_render_check=True)
