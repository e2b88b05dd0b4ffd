"""Rewards and ends that depend on more than state, action and next state are refused; wrappers are replayed too."""

import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv

from forethought.core import UsageError
from forethought.envs.mujoco.known_model import known_model, known_system


class OfTime(InvertedPendulumEnv):
    """The reward depends on the time."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(np.sin(3 * self.data.time)), *rest


class OfPreviousAction(InvertedPendulumEnv):
    """The reward depends on the change of the action."""

    last = 0.0

    def reset_model(self):
        self.last = 0.0
        return super().reset_model()

    def step(self, action):
        observation, *_, info = super().step(action)
        reward, self.last = -abs(float(action[0]) - self.last), float(action[0])
        return observation, reward, False, False, info


class Counting(InvertedPendulumEnv):
    """Ends after 5 steps, whatever happens."""

    count, most = 0, 5

    def reset_model(self):
        self.count = 0
        return super().reset_model()

    def step(self, action):
        observation, reward, *_, info = super().step(action)
        self.count += 1
        return observation, reward, self.count >= self.most, False, info


class CountingFar(Counting):
    """Ends after 900 steps, which no recorded episode reaches."""

    most = 900


class Goal(InvertedPendulumEnv):
    """The reset draws a goal that is not part of the state."""

    def reset_model(self):
        self.goal = self.np_random.normal()
        return super().reset_model()

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, -((observation[0] - self.goal) ** 2), *rest


class Wind(HalfCheetahEnv):
    """Changes the state after the simulation."""

    def step(self, action):
        outcome = super().step(action)
        velocity = self.data.qvel.copy()
        velocity[0] += 0.1
        self.set_state(self.data.qpos.copy(), velocity)
        return outcome


class OfDerived(HalfCheetahEnv):
    """The reward depends on a position that MuJoCo derives from the state: it can be replayed."""

    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.data.body("bfoot").xpos[2] + 0.1 * self.data.qvel[0]), *rest


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        (OfTime, "reward of OfTime-v0 cannot be replayed"),
        (OfPreviousAction, "depends on earlier steps"),
        (Counting, "of Counting-v0 cannot be replayed"),
        (CountingFar, "depends on earlier steps"),
        (Goal, "reward of Goal-v0 cannot be replayed"),
        (Wind, "more than hold its action and simulate"),
    ],
)
def test_what_cannot_be_replayed_is_refused(entry, complaint, registered):
    with pytest.raises(UsageError, match=complaint) as error:
        known_model(registered(entry), threads=1)
    assert "pass cost" in str(error.value)


def test_only_what_will_be_used_must_be_replayable(registered):
    """A cost of one's own in place of the reward that depends on the time; a termination in place of the counter."""
    problem = known_model(registered(OfTime), cost=lambda x, u: x[1] ** 2, threads=1)
    assert problem.dynamics.reward_function is not None  # for the end
    known_model(registered(Counting), termination=lambda x: jnp.abs(x[1]) > 0.2, threads=1)


def test_a_reward_of_derived_quantities_is_accepted(registered):
    assert not known_model(registered(OfDerived), threads=1).dynamics.reward_function.plain


def test_reward_wrappers_are_replayed():
    env = gym.wrappers.TransformReward(gym.make("InvertedPendulum-v5"), lambda reward: -3 * reward)
    real, problem = known_system(env, threads=1)
    x0 = jnp.asarray(real._env.reset(seed=1)[0])
    us = np.full((6, 1), 0.1, np.float32)
    rewards = [real._env.step(u)[1] for u in us]
    np.testing.assert_allclose(problem.dynamics.simulate(x0, jnp.asarray(us)[None])[0, 1:, -2], rewards)
    assert rewards == [-3.0] * 6
    real.close()


class Unrecorded(gym.RewardWrapper):
    """Does not record its arguments, so it cannot be made again."""

    def reward(self, reward):
        return -float(reward)


@pytest.mark.parametrize(
    ("wrap", "complaint"),
    [(gym.wrappers.NormalizeReward, "cannot be replayed"), (Unrecorded, "cannot be made again with its wrappers")],
)
def test_wrappers_that_cannot_be_replayed_are_refused(wrap, complaint):
    with pytest.raises(UsageError, match=complaint):
        known_model(wrap(gym.make("InvertedPendulum-v5")), threads=1)
