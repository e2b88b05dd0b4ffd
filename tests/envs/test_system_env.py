import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import EnvironmentFailure, UsageError
from forethought.envs.env import collect
from forethought.envs.open import open_env
from forethought.envs.shipped import shipped
from forethought.envs.system_env import SystemEnv
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
        SystemEnv(env.name, eqx.tree_at(lambda p: p.dynamics.dt, env.problem, 0.05), env.space)


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
    short, whole = (collect(env, Uniform(env.task.u_min, env.task.u_max), steps=s, key=jr.key(0)) for s in (13, 10**6))
    assert len(short) == 13 and len(whole) == env.task.horizon
    assert short.truncated.tolist() == [False] * 12 + [True] and not short.terminated.any()
    np.testing.assert_array_equal(short.x, whole.x[:13])
    with pytest.raises(ValueError, match="at least 1 step"):
        env.run(Uniform(env.task.u_min, env.task.u_max), steps=0, key=jr.key(0))
