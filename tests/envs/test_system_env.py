import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import EnvironmentFailure, Problem, UsageError
from forethought.envs.env import collect
from forethought.envs.open import open_env
from forethought.envs.shipped import shipped
from forethought.envs.system_env import SystemEnv, with_observation_noise
from forethought.policies.uniform import Uniform


class Push(eqx.Module):
    force: jax.Array

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return jnp.broadcast_to(self.force, (1,)), carry


class NaNAt(eqx.Module):
    step: int

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return jnp.where(t == self.step, jnp.nan, jnp.zeros(1)), carry


def test_an_episode_is_the_dynamics_step_by_step():
    env = shipped("CartPoleSwingUp-v0")
    episode = env.run(Push(jnp.array(3.0)), key=jr.key(0))
    assert len(episode) == env.task.horizon == 40
    assert isinstance(episode.x, np.ndarray)
    np.testing.assert_array_equal(episode.x[1:], episode.x_next[:-1])
    for t in (0, 17, 39):
        x, u = jnp.asarray(episode.x[t]), jnp.asarray(episode.u[t])
        np.testing.assert_allclose(env.problem.dynamics(x, u, jnp.array(t)).mean, episode.x_next[t], atol=1e-4)
        np.testing.assert_allclose(env.task.cost(x, u, jnp.array(t)), -episode.reward[t], atol=1e-5)
    assert episode.truncated[-1] and not episode.truncated[:-1].any() and not episode.terminated.any()


def test_actions_are_clipped_to_the_limits():
    episode = shipped("CartPoleSwingUp-v0").run(Push(jnp.array(99.0)), key=jr.key(0))
    np.testing.assert_array_equal(episode.u, np.full((40, 1), 10.0))


def test_a_nan_action_is_named_by_its_step_and_keeps_what_came_before():
    with pytest.raises(EnvironmentFailure, match="action is not finite.*step 23") as failure:
        shipped("CartPoleSwingUp-v0").run(NaNAt(23), key=jr.key(0))
    assert len(failure.value.episode) == 23


def test_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'CartPoleSwingUp-v0'"):
        shipped("forethought/CartpoleSwingup-v0")


def test_time_steps_must_agree():
    env = shipped("CartPoleSwingUp-v0")
    with pytest.raises(ValueError, match="one dt"):
        Problem(eqx.tree_at(lambda dynamics: dynamics.dt, env.problem.dynamics, 0.05), env.task)


def test_a_controller_with_new_numbers_compiles_nothing_new():
    traces = []

    class Counted(Push):
        def act(self, x, t, carry, *, key):
            traces.append(t)
            return super().act(x, t, carry, key=key)

    env = shipped("CartPoleSwingUp-v0")
    first = env.run(Counted(jnp.array(1.0)), key=jr.key(0))
    assert len(traces) == 1
    second = shipped("CartPoleSwingUp-v0").run(Counted(jnp.array(2.0)), key=jr.key(1))
    assert len(traces) == 1
    assert first.u[0] == 1 and second.u[0] == 2


def test_the_same_key_gives_the_same_episode():
    env = shipped("CartPoleSwingUp-v0")
    one, two, other = (env.run(Push(jnp.array(1.0)), key=jr.key(k)) for k in (0, 0, 1))
    np.testing.assert_array_equal(one.x, two.x)
    assert not np.array_equal(one.x, other.x)


@pytest.mark.parametrize("name", ["forethought/CartPoleSwingUp-v0", "Pendulum-v1"])
def test_a_caller_may_cut_an_episode_short(name):
    env = open_env(name)
    short, whole = (collect(env, Uniform(env.task.action_space), steps=s, key=jr.key(0)) for s in (13, 10**6))
    assert len(short) == 13 and len(whole) == env.task.horizon
    assert short.truncated.tolist() == [False] * 12 + [True] and not short.terminated.any()
    np.testing.assert_array_equal(short.x, whole.x[:13])
    with pytest.raises(ValueError, match="at least 1 step"):
        env.run(Uniform(env.task.action_space), steps=0, key=jr.key(0))


NOISE = (0.01, 0.02, 0.5, 0.0)


class Mirror(eqx.Module):
    """Its action tells what it saw: a hundredth of the angle."""

    def init(self, x0, *, key):
        return x0

    def act(self, x, t, carry, *, key):
        return x[2:3] / 100, carry


class MirrorOnHost(Mirror):
    on_host = True


def test_readings_are_the_true_states_with_noise_and_each_state_is_read_once():
    exact, noisy = (with_observation_noise(shipped("CartPoleSwingUp-v0"), std) for std in (0.0, NOISE))
    blind = Push(jnp.array(3.0))  # acts alike whatever it sees, so that the true states are the same
    truth, seen = (env.run(blind, key=jr.key(4)) for env in (exact, noisy))
    np.testing.assert_array_equal(seen.x[1:], seen.x_next[:-1])
    np.testing.assert_allclose(seen.reward, truth.reward, atol=1e-6)
    errors = seen.x - truth.x
    np.testing.assert_allclose(errors[:, 3], 0, atol=1e-5)
    np.testing.assert_allclose(errors.std(axis=0)[:3], NOISE[:3], rtol=0.3)
    assert np.all(np.abs(errors[1:, :3] - errors[:-1, :3]) > 1e-6)  # each with noise of its own
    assert abs(np.corrcoef(errors[1:, 2], errors[:-1, 2])[0, 1]) < 0.4


def test_the_controller_sees_readings_and_moves_the_true_state():
    env = with_observation_noise(shipped("CartPoleSwingUp-v0"), NOISE)
    episode, on_host = (env.run(controller, key=jr.key(5)) for controller in (Mirror(), MirrorOnHost()))
    np.testing.assert_allclose(episode.u[:, 0], episode.x[:, 2] / 100, rtol=1e-6)
    for name in ("x", "u", "x_next", "reward"):
        np.testing.assert_allclose(getattr(on_host, name), getattr(episode, name), rtol=1e-4, atol=1e-5)
    again, other = env.run(Mirror(), key=jr.key(5)), env.run(Mirror(), key=jr.key(6))
    np.testing.assert_array_equal(again.x_next, episode.x_next)
    assert not np.array_equal(other.x_next, episode.x_next)
    assert len(env.run(Mirror(), steps=13, key=jr.key(5))) == 13
    np.testing.assert_array_equal(env.run(Mirror(), steps=13, key=jr.key(5)).x, episode.x[:13])


def test_terminal_states_are_true_ones():
    env = shipped("CartPoleSwingUp-v0")

    class Beyond(type(env.task)):
        def terminal(self, x):
            return x[0] > 0.5

    right = SystemEnv("Rail", eqx.tree_at(lambda p: p.task, env.problem, Beyond()), env.space)
    push = Push(jnp.array(9.0))
    lengths = {len(with_observation_noise(right, std).run(push, key=jr.key(0))) for std in (0.0, 3.0)}
    assert len(lengths) == 1 and lengths.pop() < 40


@pytest.mark.parametrize("std", [-0.1, (0.1, 0.1), float("nan")])
def test_noise_must_fit_the_state(std):
    with pytest.raises(UsageError, match="one for each of the 4 coordinates"):
        with_observation_noise(shipped("CartPoleSwingUp-v0"), std)


def test_noise_is_for_our_own_systems():
    foreign = open_env("Pendulum-v1")
    assert with_observation_noise(foreign, 0.0) is foreign
    with pytest.raises(UsageError, match="Pendulum-v1.*wrapper"):
        with_observation_noise(foreign, 0.01)
