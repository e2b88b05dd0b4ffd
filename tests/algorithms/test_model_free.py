"""PPO, policy gradient and SAC as algorithms: rounds, records, exact resume, on our own systems and on Gymnasium's."""

import dataclasses

import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.on_policy import Rollouts, require_finite
from forethought.algorithms.policy_gradient import PolicyGradient
from forethought.algorithms.ppo import PPO
from forethought.algorithms.protocol import Algorithm
from forethought.algorithms.sac import SAC
from forethought.core import NumericalFailure, UsageError
from forethought.envs.gym_env import GymEnv
from forethought.learners.policy_gradient import PolicyGradientLearner
from forethought.learners.ppo import PPOLearner
from forethought.learners.sac import SACLearner
from forethought.runs import transitions
from tests.envs.test_parallel import ENV
from tests.envs.toy_envs import Linear, limited

SMALL = Rollouts(environments=4, steps=32, round_steps=64)
ALGORITHMS = {
    "ppo": PPO(PPOLearner(hidden=(8,), epochs=2, minibatches=2), SMALL),
    "policy-gradient": PolicyGradient(PolicyGradientLearner(hidden=(8,), value_updates=3), SMALL),
    "sac": SAC(SACLearner(hidden=(8,), batch=16), random_steps=10, block=5, round_steps=20, capacity=1000),
}


def gym_env():
    return GymEnv(limited(Linear(), 7), make=lambda **_: limited(Linear(), 7))


def rounds(algorithm, env, count, seed=0):
    state, infos = algorithm.init(env, key=jr.fold_in(jr.key(seed), 10**6)), []
    for i in range(count):
        state, info = algorithm.iterate(state, env, key=jr.fold_in(jr.key(seed), i))
        infos.append(info)
    return state, infos


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "ppo" else pytest.mark.slow) for name in ALGORITHMS]
)
def test_a_run_resumes_exactly_and_counts_every_step(name, tmp_path):
    """On one of our own systems: three rounds, and two and one after an interruption."""
    algorithm = ALGORITHMS[name]
    assert isinstance(algorithm, Algorithm)
    how = {"seed": 3, "progress": False}
    whole = ft.train(algorithm, ENV, iterations=3, out=tmp_path / "whole", **how)
    ft.train(algorithm, ENV, iterations=2, out=tmp_path / "parts", **how)
    parts = ft.train(algorithm, ENV, iterations=3, out=tmp_path / "parts", resume=True, **how)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    line = whole.metrics[-1]
    steps = 20 if name == "sac" else 64
    assert line["env_steps"] == 3 * (steps + ENV.task.horizon)  # and one whole episode in each round
    assert len(transitions.load_episodes(tmp_path / "parts" / "transitions")) == 3 < line["episodes"]
    assert line["return_mean"] is not None and line["solved"] is not None
    assert {"policy_loss", "entropy"} <= line.keys()
    assert len(whole.evaluate(episodes=2).returns) == 2
    assert whole.act(np.zeros(2)).shape == (1,)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_gymnasium_environments_are_learned_from(name):
    state, infos = rounds(ALGORITHMS[name], gym_env(), 2)
    again, _ = rounds(ALGORITHMS[name], gym_env(), 2)
    jax.tree.map(np.testing.assert_array_equal, state, again)
    for info in infos:
        steps = sum(map(len, info.episodes)) + (info.summary.steps if info.summary else 0)
        assert steps >= (20 if name == "sac" else 64)
        assert all(len(episode) == 7 for episode in info.episodes)
        assert all(np.isfinite(value) for value in info.metrics.values() if value is not None)
    if name == "sac":
        assert int(state.buffer.size) == sum(len(e) for info in infos for e in info.episodes)
        assert state.copies is None and not infos[0].summary


def test_discrete_actions():
    algorithm = dataclasses.replace(ALGORITHMS["ppo"], rollouts=Rollouts(environments=2, steps=32, round_steps=32))
    env = ft.open_env("CartPole-v1")
    state, (info,) = rounds(algorithm, env, 1)
    assert info.episodes[0].u.dtype == np.int32
    assert int(algorithm.controller(state, env).act(jnp.zeros(4), jnp.array(0), (), key=jr.key(0))[0]) in (0, 1)
    with pytest.raises(UsageError, match="use PPO"):
        ALGORITHMS["sac"].init(env, key=jr.key(0))


class Pictures(gym.Env):
    """Images of one bright column; +1 for naming its half."""

    observation_space = gym.spaces.Box(0, 255, (6, 6, 1), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.picture(), {}

    def picture(self):
        self.column = int(self.np_random.integers(6))
        image = np.zeros((6, 6, 1), np.uint8)
        image[:, self.column] = 255
        return image

    def step(self, action):
        reward = float(action == (self.column >= 3))
        return self.picture(), reward, False, False, {}


@pytest.mark.slow
def test_images_are_learned_from():
    env = GymEnv(limited(Pictures(), 10), make=lambda **_: limited(Pictures(), 10))
    learner = PPOLearner(learning_rate=2e-3, epochs=4, minibatches=2, discount=0.5)
    _, infos = rounds(PPO(learner, Rollouts(environments=4, steps=128, round_steps=256)), env, 6)
    assert np.mean(infos[-1].summary.returns) > 9


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100, 101])
def test_the_pendulum_swings_up(seed):
    """200,000 steps take the return from -400 to about -180; the best planners reach -130."""
    algorithm = PPO(PPOLearner(learning_rate=1e-3, epochs=4, minibatches=8, discount=0.98))
    env = ft.open_env("forethought/PendulumSwingUp-v0")
    _, infos = rounds(algorithm, env, 15, seed)
    assert np.mean(infos[-1].summary.returns) > -220 > -300 > np.mean(infos[0].summary.returns)


def test_a_diverging_update_is_told_with_the_remedy():
    with pytest.raises(NumericalFailure, match="value_loss is not finite.*learning-rate"):
        require_finite({"policy_loss": 0.0, "kl": None, "value_loss": float("nan")})


def test_rollouts_are_checked():
    with pytest.raises(ValueError, match="multiple of environments"):
        Rollouts(environments=3, steps=32)
    with pytest.raises(ValueError, match="round_steps"):
        Rollouts(round_steps=0)
    with pytest.raises(ValueError, match="multiple of environments"):
        SAC(block=10, environments=3)
    assert Rollouts(steps=96).count(True) == 32 and Rollouts(steps=96).count(False) == 8


def test_an_environment_that_cannot_be_copied_is_refused():
    with pytest.raises(UsageError, match="given as an object without a spec.*register it"):
        rounds(ALGORITHMS["ppo"], GymEnv(limited(Linear(), 7)), 1)
