"""Discrete actions, and observations of any shape: collected, buffered, checkpointed, evaluated."""

from dataclasses import dataclass

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import forethought as ft
from forethought.algorithms.protocol import Info
from forethought.core import Box, Buffer, Delta, Discrete, EnvironmentFailure, Observations, Problem, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs import GymEnv, collect, collect_vector, open_env, spaces_of
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.system_env import SystemEnv
from forethought.policies.uniform import Uniform
from forethought.runs import checkpoint

from .toy_envs import Linear, limited


class Pixels(gym.Env):
    """A bright pixel that moves one place to the left, not at all, or to the right; reward 1 in the last column."""

    observation_space = gym.spaces.Box(0, 255, (5, 7, 1), np.uint8)
    action_space = gym.spaces.Discrete(3, start=-1)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.row, self.column = self.np_random.integers(5), 3
        return self._image(), {}

    def step(self, action):
        assert isinstance(action, np.int64) and self.action_space.contains(action)
        self.column = int(np.clip(self.column + action, 0, 6))
        return self._image(), float(self.column == 6), False, False, {}

    def _image(self):
        image = np.zeros((5, 7, 1), np.uint8)
        image[self.row, self.column] = 255
        return image


def test_random_actions_on_the_cart_pole():
    env = open_env("CartPole-v1")
    assert env.task.action_space == Discrete(2)
    episodes = [collect(env, Uniform(env.task.action_space), key=jr.key(i)) for i in range(3)]
    for episode in episodes:
        assert episode.u.dtype == np.int32 and episode.u.shape == (len(episode),) and episode.x.shape[1:] == (4,)
        assert set(episode.u.tolist()) == {0, 1}
        assert episode.terminated[-1] and (episode.reward == 1).all() and episode.reward.dtype == np.float32
        pushed_right = episode.x_next[:, 1] > episode.x[:, 1]
        np.testing.assert_array_equal(pushed_right, episode.u == 1)
    buffer = Buffer.like(spaces_of(env).example(), 64, ring=True)
    for episode in episodes:
        buffer = buffer.append(episode)
    batch = buffer.sample(16, key=jr.key(0))
    assert batch.u.shape == (16,) and batch.u.dtype == jnp.int32


def test_a_table_environment():
    env = open_env("FrozenLake-v1", horizon=40)
    spaces = spaces_of(env)
    assert spaces.observations == Observations((), "int32", (16,)) and spaces.actions == Discrete(4)
    episode = collect(env, Uniform(env.task.action_space), key=jr.key(0))
    assert episode.x.shape == (len(episode),) and episode.x.dtype == np.int32 and episode.x[0] == 0
    assert episode.reward.dtype == np.float32
    report = ft.check_env("FrozenLake-v1", horizon=40)
    assert not report.failed and "Discrete(16)" in report.named("observation space")[0].detail


def test_images_pass_through_episode_buffer_and_checkpoint(tmp_path):
    env = GymEnv(limited(Pixels(), 12))
    spaces = spaces_of(env)
    assert spaces.observations == Observations((5, 7, 1), "uint8") and spaces.actions == Discrete(3)
    episode = collect(env, Uniform(spaces.actions), key=jr.key(0))
    assert episode.x.dtype == np.uint8 and episode.x.shape == (12, 5, 7, 1)
    column = episode.x.reshape(12, 5, 7).any(1).argmax(1)
    np.testing.assert_array_equal(np.clip(column + episode.u - 1, 0, 6)[:-1], column[1:])
    buffer = Buffer.like(spaces.example(), 8, ring=True).append(episode)
    checkpoint.save(tmp_path, {"buffer": buffer}, checkpoint.TrainingProgress(1), "settings")
    skeleton = {"buffer": Buffer.like(spaces.example(), 8, ring=True)}
    restored = checkpoint.load(tmp_path, 1, skeleton, "settings")[0]["buffer"]
    np.testing.assert_array_equal(restored.rows().x, episode.x[-8:])
    assert restored.data.x.dtype == jnp.uint8 and restored.data.u.dtype == jnp.int32
    assert restored.sample(4, key=jr.key(1)).x.shape == (4, 5, 7, 1)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_vector_environments_never_record_a_reset(mode):
    """Every transition of the real cart-pole moves by dt times its velocity; a reset taken for a step would not."""
    envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 3, autoreset_mode=mode)
    episodes = collect_vector(envs, Uniform(Discrete(2)), key=jr.key(0), steps=150)
    assert len(episodes) > 4
    for episode in episodes:
        assert episode.u.dtype == np.int32
        np.testing.assert_allclose(episode.x_next[:, 0], episode.x[:, 0] + 0.02 * episode.x[:, 1], atol=1e-5)
    tables = SyncVectorEnv([lambda: gym.make("FrozenLake-v1")] * 2, autoreset_mode=mode)
    for episode in collect_vector(tables, Uniform(Discrete(4)), key=jr.key(1), episodes=6):
        assert episode.x[0] == 0 and episode.x.dtype == np.int32
        np.testing.assert_array_equal(episode.x[1:], episode.x_next[:-1])


def test_integers_are_counted_from_zero():
    def read(space, value):
        return ObservationCodec(space, "it").read(value, 3)

    assert read(gym.spaces.Discrete(4, start=-1), 2) == 3
    codec = ObservationCodec(gym.spaces.MultiDiscrete([3, 5]), "it")
    assert codec.observations == Observations((2,), "int32", (3, 5)) and codec.size == 2
    np.testing.assert_array_equal(codec.read(np.array([2, 4]), 1), [2, 4])
    np.testing.assert_array_equal(read(gym.spaces.MultiBinary(3), np.array([1, 0, 1], np.int8)), [1, 0, 1])
    for space, value, said in (
        (gym.spaces.Discrete(4), 4, r"4 is not in Discrete\(4\).*at step 3"),
        (gym.spaces.Discrete(4), 1.5, "integer was expected"),
        (gym.spaces.MultiDiscrete([3, 5]), np.array([2, 5]), "is not in MultiDiscrete"),
        (gym.spaces.MultiDiscrete([3, 5]), np.array([2]), r"shape \[1\] instead of \[2\]"),
        (Pixels.observation_space, np.zeros((5, 7), np.uint8), r"shape \[5, 7\] instead of \[5, 7, 1\]"),
    ):
        with pytest.raises(EnvironmentFailure, match=said):
            read(space, value)


def test_which_boxes_are_states_and_which_are_images():
    def described(*arguments):
        return ObservationCodec(gym.spaces.Box(*arguments), "it").observations

    assert described(-1, 1, (3,), np.float64) == Observations((3,), "float32")
    assert described(-1, 1, (2, 3), np.float64) == Observations((6,), "float32")
    assert described(0, 255, (128,), np.uint8) == Observations((128,), "float32")
    assert described(0, 255, (8, 8), np.uint8) == Observations((8, 8), "uint8")
    assert described(0, 1, (8, 8, 3), np.float64) == Observations((8, 8, 3), "float32")
    assert (
        str(Observations((8, 8), "uint8")) == "uint8 [8, 8]"
        and str(Observations((), "int32", (16,))) == "an integer below 16"
    )


def test_actions_that_are_no_choices():
    codec = ActionCodec(gym.spaces.Discrete(3, start=5), "it")
    assert codec.actions() == Discrete(3) and codec.write(codec.read(jnp.array(1), 0)) == 6
    with pytest.raises(EnvironmentFailure, match="action 3 at step 8.*0 to 2"):
        codec.read(np.array(3), 7)
    for wrong in (np.array(1.0), np.array([1])):
        with pytest.raises(UsageError, match="takes one integer"):
            codec.read(wrong, 0)


def cost(x, u):
    return jnp.sum(x**2)


def never(x):
    return jnp.zeros((), bool)


@pytest.mark.parametrize("algorithm", [ft.Backprop(), ft.PILCO()], ids=["Backprop", "PILCO"])
def test_algorithms_that_need_a_box_say_so(algorithm):
    with pytest.raises(UsageError, match=f"{type(algorithm).__name__} needs continuous actions .*2 discrete"):
        algorithm.init(open_env("CartPole-v1", cost=cost, termination=never), key=jr.key(0))


@pytest.mark.parametrize("algorithm", [ft.PETS(), ft.PILCO()], ids=["PETS", "PILCO"])
def test_models_of_continuous_states_refuse_images(algorithm):
    images = limited(Linear())
    images.observation_space = gym.spaces.Box(0, 255, (8, 8), np.uint8)
    with pytest.raises(UsageError, match=r"observes uint8 \[8, 8\].*vector of real numbers"):
        algorithm.init(GymEnv(images, cost=cost, termination=never), key=jr.key(0))


@dataclass(frozen=True)
class ActAtRandom:
    """Settings of an algorithm that collects and learns nothing."""

    def init(self, env, *, key):
        return Buffer.like(spaces_of(env).example(), 32, ring=True)

    def iterate(self, state, env, *, key):
        episode = collect(env, self.controller(state, env), key=key)
        return state.append(episode), Info([episode], {"model_error": None})

    def controller(self, state, env):
        return Uniform(env.task.action_space)


@pytest.mark.parametrize("env", ["CartPole-v1", "FrozenLake-v1"])
def test_a_run_with_discrete_actions_is_trained_resumed_and_evaluated(tmp_path, env):
    options = {"seed": 1, "out": tmp_path / "run", "progress": False}
    whole = ft.train(ActAtRandom(), env, iterations=3, seed=1, out=tmp_path / "whole", progress=False)
    ft.train(ActAtRandom(), env, iterations=1, **options)
    resumed = ft.train(ActAtRandom(), env, iterations=3, resume=True, **options)
    jax.tree.map(np.testing.assert_array_equal, whole.state, resumed.state)
    evaluation = resumed.evaluate(episodes=3)
    assert evaluation.success is None and len(evaluation.returns) == 3
    assert evaluation.lengths == tuple(len(episode) for episode in evaluation.trajectories)
    if env == "CartPole-v1":
        assert evaluation.returns == evaluation.lengths


class Rest(eqx.Module):
    """Come to rest."""

    horizon: int = 7
    dt: float = 0.1
    action_space: Discrete = Discrete(2)

    def initial(self, *, key):
        return jr.normal(key, (2,))

    def cost(self, x, u, t):
        return jnp.sum(x**2)

    def final_cost(self, x):
        return jnp.zeros(())

    def terminal(self, x):
        return jnp.zeros((), bool)

    def solved(self, trajectory):
        return None


class Chooses(eqx.Module):
    """A point that goes left or right."""

    dt: float = 0.1

    def __call__(self, x, u, t):
        return Delta(x + self.dt * jnp.stack([x[1], 2.0 * u - 1]))

    def draw(self, *, key):
        return self


def test_a_system_of_our_own_with_discrete_actions():
    env = SystemEnv("Choices-v0", Problem(Chooses(), Rest()), StateSpace(2))
    episode = env.run(Uniform(Discrete(2)), key=jr.key(0))
    assert len(episode) == 7 and np.issubdtype(episode.u.dtype, np.integer)
    np.testing.assert_allclose(np.diff(episode.x[:, 1]), 0.1 * (2 * episode.u[:-1] - 1), atol=1e-6)


def test_a_box_and_a_choice_have_examples():
    assert Box.symmetric(jnp.ones(3)).example().shape == (3,) and Discrete(4).example().dtype == jnp.int32
    row = spaces_of(open_env("Pendulum-v1")).example()
    assert row.x.shape == (3,) and row.u.shape == (1,)
    jax.tree.map(np.testing.assert_array_equal, row, jax.tree.map(jnp.zeros_like, row))
