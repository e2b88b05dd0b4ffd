"""Episodes in pieces, keys of the initial state, and environments in which something survives a reset."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import DiagonalGaussian, EnvironmentFailure, UsageError
from forethought.envs import GymEnv, carries_state, collect
from forethought.envs.episode import Episode, join_pieces
from forethought.envs.shipped import shipped
from forethought.envs.system_env import SystemEnv, with_observation_noise

from .test_gym_env import PUSH, Feedback
from .toy_envs import Linear, Misbehaving, limited


class Noisy(Linear):
    """With noise from the environment's own generator."""

    def step(self, action):
        x, *rest = super().step(action)
        self.x = x + 0.1 * self.np_random.normal(size=2)
        return self.x.copy(), *rest


class NoisyCart(eqx.Module):
    """The cart-pole with noise."""

    inner: eqx.Module

    def __call__(self, x, u, t):
        return DiagonalGaussian(self.inner(x, u, t).mean, 0.01 * jnp.ones(4))

    def draw(self, *, key):
        return self


def noisy_system():
    env = shipped("CartPoleSwingUp-v0")
    return SystemEnv(
        "Noisy-v0", eqx.tree_at(lambda p: p.dynamics, env.problem, NoisyCart(env.problem.dynamics)), env.space
    )


NOISY_SYSTEM = noisy_system()
ENVS = {"gymnasium": lambda: GymEnv(limited(Noisy(), 25)), "system": lambda: NOISY_SYSTEM}
WIDE = Feedback(jnp.array(0.3))  # its memory counts the calls, and shows in the action


class OnHost(Feedback):
    on_host = True


@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
@pytest.mark.parametrize("controller", [WIDE, OnHost(jnp.array(0.3))], ids=["compiled", "host"])
def test_pieces_of_an_episode_join_to_the_whole(make, controller):
    env = make()
    whole, told, told_whole = None, [], []
    whole = env.run(controller, key=jr.key(3), on_step=lambda n, total: told_whole.append(n))
    for sizes in ((1,) * len(whole), (3, 10, 1, 100), (17, 17, 17)):
        episode, pieces, told = env.start(key=jr.key(3)), [], []
        assert isinstance(episode, Episode)
        for steps in sizes:
            if episode.over:
                break
            np.testing.assert_array_equal(episode.x, whole.x[sum(map(len, pieces))])
            pieces.append(episode.advance(controller, steps=steps, on_step=lambda *now, told=told: told.append(now)))
            assert len(pieces[-1]) <= steps
        assert episode.over and told[-1][0] == told_whole[-1] == len(whole)
        np.testing.assert_allclose(told[-1][1], whole.reward.sum(), rtol=1e-5)
        jax.tree.map(np.testing.assert_array_equal, join_pieces(pieces), whole)
        np.testing.assert_array_equal(episode.x, whole.x_next[-1])
    with pytest.raises(UsageError, match="has ended"):
        episode.advance(controller, steps=1)
    with pytest.raises(ValueError, match="at least 1 step"):
        env.start(key=jr.key(0)).advance(controller, steps=0)


@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
def test_the_controller_may_change_between_pieces(make):
    """One that differs in its arrays goes on with the memory, another kind begins its own."""
    env = make()

    class Memory(eqx.Module):
        """Its action is a hundredth of the number of calls that it remembers."""

        offset: jax.Array

        def init(self, x0, *, key):
            return jnp.zeros((), jnp.int32)

        def act(self, x, t, carry, *, key):
            return (self.offset + carry / 100)[None], carry + 1

    class Other(Memory):
        pass

    episode = env.start(key=jr.key(0))
    pieces = [episode.advance(kind(jnp.array(c)), steps=2) for kind, c in ((Memory, 0.0), (Memory, 0.1), (Other, 0.2))]
    actions = np.concatenate([piece.u[:, 0] for piece in pieces])
    np.testing.assert_allclose(actions, [0.0, 0.01, 0.12, 0.13, 0.2, 0.21], atol=1e-6)


@pytest.mark.parametrize("make", ENVS.values(), ids=ENVS)
def test_the_reset_key_alone_decides_the_initial_state(make):
    env = make()
    one, two, same, other = (
        collect(env, PUSH, steps=6, key=jr.key(k), reset_key=jr.key(r)) for k, r in ((0, 5), (1, 5), (0, 5), (0, 6))
    )
    np.testing.assert_array_equal(one.x[0], two.x[0])
    assert (one.x_next[0] != two.x_next[0]).all(), "noise differs"
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert (one.x[0] != other.x[0]).any()


def test_options_of_the_reset():
    class Placed(Linear):
        def reset(self, *, seed=None, options=None):
            x, info = super().reset(seed=seed)
            self.x = np.asarray((options or {}).get("x0", x))
            return self.x.copy(), info

    x0 = np.array([0.5, -0.25])
    np.testing.assert_array_equal(GymEnv(limited(Placed())).start(key=jr.key(0), options={"x0": x0}).x, x0)
    x0 = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    np.testing.assert_array_equal(NOISY_SYSTEM.run(PUSH, key=jr.key(0), options={"x0": x0}, steps=3).x[0], x0)
    for options, said in (({"start": x0}, "reset option x0.*'start'"), ({"x0": x0[:2]}, r"shape \[4\]; x0 has \[2\]")):
        with pytest.raises(UsageError, match=said):
            NOISY_SYSTEM.start(key=jr.key(0), options=options)


def test_an_environment_runs_the_episode_that_it_started_last():
    env = GymEnv(limited(Linear()))
    first, second = env.start(key=jr.key(0)), env.start(key=jr.key(1))
    second.advance(PUSH, steps=1)
    with pytest.raises(UsageError, match="another episode"):
        first.advance(PUSH, steps=1)


def test_a_failure_ends_the_episode_and_keeps_the_steps_of_its_piece():
    episode = GymEnv(limited(Misbehaving(4, lambda x, r: (x, np.nan)))).start(key=jr.key(0))
    episode.advance(PUSH, steps=2)
    with pytest.raises(EnvironmentFailure, match="step 4") as failure:
        episode.advance(PUSH, steps=2)
    assert len(failure.value.episode) == 1 and episode.over


def test_sensors_read_each_state_once_in_pieces_too():
    env = with_observation_noise(shipped("CartPoleSwingUp-v0"), 0.1)
    episode = env.start(key=jr.key(2))
    first = episode.x
    pieces = [episode.advance(PUSH, steps=3) for _ in range(2)]
    np.testing.assert_array_equal(pieces[0].x[0], first)
    np.testing.assert_array_equal(pieces[0].x_next[-1], pieces[1].x[0])


def test_pictures_of_pieces_are_those_of_the_whole():
    env = shipped("PendulumSwingUp-v0")
    whole, pieces = [], []
    env.run(PUSH, key=jr.key(0), steps=4, frames=whole)
    episode = env.start(key=jr.key(0), frames=pieces)
    for _ in range(2):
        episode.advance(PUSH, steps=2)
    assert len(whole) == len(pieces) == 5
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)


def test_what_survives_a_reset_is_noticed():
    class Normalized(Linear):
        """Observations divided by the largest one so far."""

        largest = 1.0

        def step(self, action):
            x, *rest = super().step(action)
            self.largest = max(self.largest, float(np.abs(x).max()) + 0.1)
            return x / self.largest, *rest

    class Unseeded(Linear):
        def reset(self, *, seed=None, options=None):
            return super().reset(seed=None)

    def tried(env):
        return carries_state(GymEnv(limited(env)), key=jr.key(0))

    assert tried(Linear()) is None and tried(Noisy()) is None
    assert tried(Normalized()) == "the same seed and actions gave a different result at step 1"
    assert tried(Unseeded()) == "the same seed gave a different initial state"
    assert carries_state(NOISY_SYSTEM, steps=3, key=jr.key(0)) is None
