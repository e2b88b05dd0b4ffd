import re

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import EnvironmentFailure, UsageError
from forethought.envs import GymEnv, open_env

from .toy_envs import A, B, Linear, Misbehaving, limited

TRACES = []


class Feedback(eqx.Module):
    """`u = -k x[0] + noise`, remembering how often it acted."""

    k: jax.Array
    noise: float = 0.1

    def init(self, x0, *, key):
        return jnp.zeros((), jnp.int32)

    def act(self, x, t, carry, *, key):
        TRACES.append(t)
        return -self.k * x[:1] + self.noise * jr.normal(key, (1,)) + 0.01 * carry.astype(x.dtype), carry + 1


class Constant(eqx.Module):
    u: jax.Array

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return self.u, carry


PUSH = Constant(jnp.array([0.5]))


def steps_of(env, controller=PUSH, seed=0):
    return env.run(controller, key=jr.key(seed))


def test_an_episode_follows_the_system():
    env = GymEnv(limited(Linear()))
    episode = steps_of(env, Feedback(jnp.array(0.3)))
    assert len(episode) == 5
    np.testing.assert_allclose(episode.x_next, episode.x @ A.T + episode.u @ B.T, atol=1e-5)
    np.testing.assert_array_equal(episode.x[1:], episode.x_next[:-1])
    np.testing.assert_allclose(episode.reward, -(episode.x**2).sum(1) - episode.u[:, 0] ** 2, rtol=1e-5)
    assert not episode.terminated.any()
    np.testing.assert_array_equal(episode.truncated, [0, 0, 0, 0, 1])
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(episode))
    assert episode.x.dtype == episode.reward.dtype == np.float32


def test_states_are_float64_where_jax_is():
    with jax.enable_x64(True):
        episode = steps_of(GymEnv(limited(Linear())), Constant(jnp.array([0.5])))
        assert episode.x.dtype == episode.u.dtype == episode.reward.dtype == np.float64
        np.testing.assert_allclose(episode.x_next, episode.x @ A.T + episode.u @ B.T, rtol=1e-14)


def test_an_episode_is_a_function_of_the_key():
    env = GymEnv(limited(Linear()))
    controller = Feedback(jnp.array(0.3))
    first = steps_of(env, controller, seed=1)
    steps_of(env, controller, seed=2)
    jax.tree.map(np.testing.assert_array_equal, first, steps_of(env, controller, seed=1))
    assert (first.x[0] != steps_of(env, controller, seed=2).x[0]).all()
    assert (np.diff(first.u[:, 0] + 0.3 * first.x[:, 0]) != 0).all()  # noise differs from step to step


def test_a_new_controller_of_the_same_shape_compiles_nothing():
    env = GymEnv(limited(Linear()))
    steps_of(env, Feedback(jnp.array(0.1), noise=0.2))
    traces = len(TRACES)
    steps_of(env, Feedback(jnp.array(0.7), noise=0.2))
    assert traces > 0 and len(TRACES) == traces


def test_actions_are_clipped_and_have_the_type_of_the_space():
    linear = Linear()
    episode = steps_of(GymEnv(limited(linear)), Constant(jnp.array([100.0])))
    np.testing.assert_array_equal(episode.u, np.full((5, 1), 2.0))
    assert all(a.dtype == np.float32 and a.shape == (1,) and a == 2 for a in linear.actions)


def test_termination_ends_the_episode_and_is_not_truncation():
    env = GymEnv(limited(Linear(bound=-np.inf)))
    episode = steps_of(env)
    np.testing.assert_array_equal(episode.terminated, [True])
    np.testing.assert_array_equal(episode.truncated, [False])
    assert env.learn_termination and env.learn_reward


def test_user_functions_decide_reward_and_termination():
    def cost(x, u):
        return jnp.abs(x[0]) + 3 * u[0]

    always, never = lambda x: x[0] < jnp.inf, lambda x: x[0] > jnp.inf  # noqa: E731
    env = GymEnv(limited(Linear()), cost=cost, termination=never)
    assert not env.learn_reward and not env.learn_termination
    episode = steps_of(env)
    np.testing.assert_allclose(episode.reward, -np.abs(episode.x[:, 0]) - 1.5, rtol=1e-6)
    assert steps_of(GymEnv(limited(Linear()), termination=always)).terminated.tolist() == [True]
    disagreeing = steps_of(GymEnv(limited(Linear(bound=-np.inf)), termination=never))
    assert disagreeing.truncated.tolist() == [True] and disagreeing.terminated.tolist() == [False]


def test_progress_is_told():
    told = []
    episode = GymEnv(limited(Linear())).run(PUSH, key=jr.key(0), on_step=lambda t, total: told.append((t, total)))
    assert [t for t, _ in told] == [1, 2, 3, 4, 5]
    assert told[-1][1] == pytest.approx(episode.reward.sum(), rel=1e-5)


def test_clock_and_limits_are_read_off():
    env = open_env("Pendulum-v1")
    assert (env.task.horizon, env.task.dt, env.space.size) == (200, 0.05, 3)
    assert env.task.action_space.high.tolist() == [2.0] and env.task.action_space.low.tolist() == [-2.0]
    assert GymEnv(limited(Linear())).task.dt == 0.1  # one picture
    assert GymEnv(limited(Linear()), dt=0.5).task.dt == 0.5
    short = GymEnv(Linear(), horizon=3)
    assert steps_of(short).truncated.tolist() == [False, False, True]


def test_dictionaries_of_boxes_are_flattened():
    class Parts(gym.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            box = gym.spaces.Box(-np.inf, np.inf, (1, 1), np.float64)
            self.observation_space = gym.spaces.Dict(a=box, b=box)

        def observation(self, x):
            return {"a": x[:1, None], "b": x[1:, None]}

    plain, parts = steps_of(GymEnv(limited(Linear()))), steps_of(GymEnv(limited(Parts(Linear()))))
    jax.tree.map(np.testing.assert_array_equal, plain, parts)


def fails(change, at=3):
    env = GymEnv(limited(Misbehaving(at, change)))
    with pytest.raises(EnvironmentFailure) as caught:
        steps_of(env)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, r: (np.array([0, np.nan]), r), "coordinate 1 of the observation is nan at step 3"),
        (lambda x, r: (np.array([np.inf, 0]), r), "coordinate 0 of the observation is inf at step 3"),
        (lambda x, r: (np.array([1e300, 0]), r), "coordinate 0 of the observation is inf at step 3"),
        (lambda x, r: (x, np.nan), "reward nan at step 3"),
        (lambda x, r: (x, -np.inf), "reward -inf at step 3"),
        (lambda x, r: (x, None), "reward of type NoneType at step 3: return a float"),
        (lambda x, r: (np.zeros(3), r), r"shape \[3\] instead of \[2\] at step 3"),
        (lambda x, r: (x[None], r), r"shape \[1, 2\] instead of \[2\] at step 3"),
        (lambda x, r: (None, r), "at step 3"),
        (lambda x, r: ([[1.0], [1.0, 2.0]], r), "does not fit its space.*at step 3"),
    ],
)
def test_what_no_model_can_learn_from_is_refused_and_the_steps_before_it_kept(change, said):
    failure = fails(change)
    assert re.search(said, str(failure))
    assert len(failure.episode) == 2 and np.isfinite(failure.episode.x_next).all()


def test_nothing_is_kept_of_a_first_step_that_fails():
    assert fails(lambda x, r: (x, np.nan), at=1).episode is None


def test_an_environment_that_raises():
    def change(x, r):
        raise ZeroDivisionError("the gears jammed\nbadly")

    failure = fails(change)
    assert "raised ZeroDivisionError (the gears jammed) at step 3" in str(failure)
    assert isinstance(failure.__cause__, ZeroDivisionError) and len(failure.episode) == 2


def test_an_environment_that_raises_when_reset():
    class Broken(Linear):
        def reset(self, **kwargs):
            raise OSError("no such file")

    with pytest.raises(EnvironmentFailure, match=r"raised OSError \(no such file\) when it was reset"):
        steps_of(GymEnv(limited(Broken())))


def test_an_interrupt_passes():
    def change(x, r):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps_of(GymEnv(limited(Misbehaving(2, change))))


def test_a_controller_that_diverges():
    with pytest.raises(EnvironmentFailure, match="the controller gave the action .nan. at step 1"):
        steps_of(GymEnv(limited(Linear())), Constant(jnp.array([jnp.nan])))
    with pytest.raises(UsageError, match="actions of shape"):
        steps_of(GymEnv(limited(Linear())), Constant(jnp.zeros(2)))


def refused(said, env=None, **options):
    with pytest.raises(UsageError, match=said) as caught:
        GymEnv(limited(Linear()) if env is None else env, **options)
    assert "\n" not in str(caught.value)


def test_environments_no_planner_here_can_act_in():
    def with_actions(space):
        env = limited(Linear())
        env.action_space = space
        return env

    refused(
        r"action space MultiDiscrete.*Box of real numbers.*Discrete", with_actions(gym.spaces.MultiDiscrete([2, 3]))
    )
    refused("without finite bounds", with_actions(gym.spaces.Box(-np.inf, 1, (1,))))
    refused("continuous", with_actions(gym.spaces.Box(0, 5, (1,), np.int32)))
    refused("no time limit: pass horizon", Linear())
    refused("at least 1 step", horizon=0)
    refused("beyond the time limit", horizon=6)
    refused("positive seconds", dt=0.0)
    refused(r"angles \[2\] are not coordinates", angles=(2,))
    refused(r"velocities \[2\] are not coordinates", velocities=((0, 2),))
    refused("a velocity has none", velocities=((0, 1), (1, 0)))
    blind = limited(Linear())
    blind.observation_space = gym.spaces.Text(3)
    refused("not plain numbers", blind)


def test_functions_that_jax_cannot_trace():
    refused("cannot be traced by JAX .TracerArrayConversionError.*jax.numpy", cost=lambda x, u: np.sum(np.asarray(x)))
    refused("cannot be traced by JAX.*jnp.where", cost=lambda x, u: 1.0 if x[0] > 0 else 0.0)
    refused(r"must return one number.*shape \[2\]", cost=lambda x, u: x**2)
    refused(r"must return one number.*shape \[1\]", termination=lambda x: x[:1] > 0)
    refused("raised TypeError", cost=lambda x: x[0])
    refused("returns a NoneType", cost=lambda x, u: None)


def test_an_unknown_cost_is_told():
    task = GymEnv(limited(Linear())).task
    with pytest.raises(UsageError, match="cost .* not known"):
        task.cost(jnp.zeros(2), jnp.zeros(1), jnp.array(0))
    with pytest.raises(UsageError, match="not known"):
        task.terminal(jnp.zeros(2))
    with pytest.raises(UsageError, match="reset"):
        task.initial(key=jr.key(0))
    assert task.final_cost(jnp.ones(2)) == 0


def test_a_cost_that_is_not_a_number_is_blamed_itself():
    env = GymEnv(limited(Linear()), cost=lambda x, u: jnp.log(x[0] - 1e9))
    with pytest.raises(EnvironmentFailure) as caught:
        env.run(PUSH, key=jr.key(0))
    said = str(caught.value)
    assert said.startswith("the cost function gave nan at step 1, for x = [") and "guard divisions" in said


def test_a_termination_that_returns_a_real_number_is_refused():
    with pytest.raises(UsageError, match=r"must return True or False, not a float32: compare it"):
        GymEnv(limited(Linear()), termination=lambda x: x[0])
    GymEnv(limited(Linear()), termination=lambda x: x[0] > 1)
