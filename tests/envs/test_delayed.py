"""Delayed actions: the system under shifted actions, the wrapper of Gymnasium environments, and learning."""

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.model_learning import ModelLearning
from forethought.core import Buffer, UsageError
from forethought.core.delay import Delay
from forethought.dynamics.delayed import DelayedModel
from forethought.envs.delayed import delay_of, with_delay
from forethought.envs.environment import Environment
from forethought.envs.open import open_env
from forethought.envs.shipped import shipped
from forethought.models.ensemble import Ensemble
from forethought.policies.uniform import Uniform

PENDULUM = "forethought/PendulumSwingUp-v0"
X0 = {"x0": [0.3, -0.2, 0.0, 0.0, 0.0]}


class Remembering(eqx.Module):
    """Acts by the state and by the past actions, so that a mistake in either shows."""

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return (1.5 * jnp.sin(3.0 * t) - 0.4 * x[1] + 0.2 * x[2] - 0.1 * x[4])[None], carry


def by_hand(steps, delay, act):
    """States, chosen and acting actions of the pendulum, where `act(x, past actions, t)` is seen and acts later."""
    env, x = shipped("PendulumSwingUp-v0"), jnp.array(X0["x0"][:2])
    past, xs, chosen, acting = [jnp.zeros(1)] * delay, [x], [], []
    for t in range(steps):
        u = env.task.action_space.clip(act(x, past, t))
        past = [u, *past]
        acting.append(past.pop())
        chosen.append(u)
        x = env.problem.dynamics(x, acting[-1], jnp.asarray(t)).mean
        xs.append(x)
    return (np.asarray(jnp.stack(each)) for each in (xs, chosen, acting))


def act_by_hand(x, past, t):
    s = jnp.concatenate([x, *past])
    return Remembering().act(s, jnp.asarray(float(t)), (), key=None)[0]


@pytest.fixture(scope="module")
def episode():
    env = open_env(PENDULUM, action_delay=3)
    return env, env.run(Remembering(), key=jr.key(0), options=X0, steps=12)


def test_an_action_acts_so_many_steps_later(episode):
    env, rows = episode
    xs, chosen, acting = by_hand(12, 3, act_by_hand)
    np.testing.assert_allclose(rows.x[:, :2], xs[:-1], atol=1e-5)
    np.testing.assert_allclose(rows.u, chosen, atol=1e-5)
    np.testing.assert_allclose(rows.x[:, 4], acting[:, 0], atol=1e-5)
    np.testing.assert_allclose(rows.x[4, 2:], chosen[[3, 2, 1], 0], atol=1e-5)  # newest first
    assert np.ptp(acting[:, 0]) > 1 and delay_of(env) == Delay(3, 2, 1)


def test_the_cost_is_that_of_the_action_that_acts(episode):
    env, rows = episode
    task = shipped("PendulumSwingUp-v0").task
    costs = [task.cost(x[:2], x[4:], jnp.asarray(0)) for x in jnp.asarray(rows.x)]
    np.testing.assert_allclose(-rows.reward, costs, rtol=1e-5)
    undelayed = env.delay.undelayed(rows)
    np.testing.assert_array_equal(undelayed.u[:, 0], rows.x[:, 4])
    assert undelayed.x.shape == (12, 2)


def test_names_noise_and_pictures_belong_to_the_system():
    env = open_env(PENDULUM, action_delay=2, observation_noise=0.1)
    assert env.space.names[2:] == ("torque (N m), 1 step ago", "torque (N m), 2 steps ago")
    assert env.observation_std == (0.1, 0.1, 0.0, 0.0) and env.space.velocities == ((0, 1),)
    rows = env.run(Uniform(env.task.action_space), key=jr.key(1), steps=3)
    np.testing.assert_array_equal(rows.x[1:, 2], rows.u[:-1, 0])  # past actions are known exactly
    assert env.picture(rows.x[0], rows.u[0], 0.0).ndim == 3


def test_the_wrapper_of_gymnasium_environments_does_the_same(episode):
    _, rows = episode
    env = open_env(gym.make(PENDULUM), action_delay=3)
    found = env.run(Remembering(), key=jr.key(0), options={"x0": X0["x0"][:2]}, steps=12)
    np.testing.assert_allclose(found.x, rows.x, atol=1e-4)
    np.testing.assert_allclose(found.u, rows.u, atol=1e-4)
    np.testing.assert_allclose(found.reward, rows.reward, atol=1e-4)
    assert env.space.size == 5 and env.task.action_space.names == ("u[0]",)


def test_a_delay_of_the_observation_adds_to_that_of_the_action():
    """A loop in which observations are 2 steps old and actions act 1 step later, from the first observation on."""
    whole = open_env(PENDULUM, action_delay=1, observation_delay=2)
    rows = whole.run(Remembering(), key=jr.key(0), options=X0, steps=10)
    env, x = shipped("PendulumSwingUp-v0"), jnp.array(X0["x0"][:2])
    on_the_way, actions, xs = [jnp.zeros(1)], [jnp.zeros(1)] * 3, [x]
    for t in range(12):
        u = jnp.zeros(1)
        if t >= 2:  # the first observation has arrived
            u = env.task.action_space.clip(act_by_hand(xs[t - 2], actions[:3], t - 2))
            actions = [u, *actions]
        on_the_way = [u, *on_the_way]
        xs.append(env.problem.dynamics(xs[-1], on_the_way.pop(), jnp.asarray(t)).mean)
    np.testing.assert_allclose(rows.u, np.asarray(actions[:10])[::-1], atol=1e-4)
    np.testing.assert_allclose(rows.x_next[:, :2], np.asarray(xs)[1:11], atol=1e-4)


def test_discrete_actions_join_the_state_as_one_number_for_each_choice():
    env = open_env("CartPole-v1", action_delay=2)
    rows = env.run(Uniform(env.task.action_space), key=jr.key(0), steps=5)
    assert env.space.size == 8 and env.task.action_space.n == 2
    np.testing.assert_array_equal(rows.x[0, 4:], [1, 0, 1, 0])  # choice 0 acted before
    one_hot = np.eye(2)[rows.u]
    np.testing.assert_array_equal(rows.x[1:, 4:6], one_hot[:-1])
    np.testing.assert_array_equal(rows.x[2:, 6:], one_hot[:-2])
    assert int(env.delay.applied(jnp.asarray(rows.x[2]), jnp.asarray(rows.u[2]))) == rows.u[0]


def test_known_functions_of_a_gymnasium_environment_see_the_acting_action():
    options = {"cost": lambda x, u: x[0] ** 2 + 7 * u[0] ** 2, "termination": lambda x: x[2] > 9}
    env = open_env("Pendulum-v1", action_delay=1, **options)
    rows = env.run(Uniform(env.task.action_space), key=jr.key(0), steps=4)
    np.testing.assert_allclose(-rows.reward, rows.x[:, 0] ** 2 + 7 * rows.x[:, 3] ** 2, rtol=1e-5)
    assert not env.learn_reward and not env.learn_termination


@pytest.fixture(scope="module")
def fitted():
    """An ensemble fitted to delayed experience whose rewards are learned too."""
    env = open_env("Pendulum-v1", action_delay=2)
    learning = ModelLearning(Ensemble(members=2, hidden=(16,), max_epochs=20))
    rows = env.run(Uniform(env.task.action_space), key=jr.key(0), steps=60)
    buffer = Buffer.empty(env.space.size, 1).append(rows)
    return env, rows, buffer, learning, learning.fit(buffer, learning.init(env, key=jr.key(1)), key=jr.key(2))[0]


def test_a_model_of_the_system_is_learned_and_the_delay_is_known(fitted):
    """The fit equals that to the transitions of the system without the delay."""
    env, rows, _, learning, learned = fitted
    plain = open_env("Pendulum-v1")
    alone = Buffer.empty(3, 1).append(env.delay.undelayed(rows))
    expected = learning.fit(alone, learning.init(plain, key=jr.key(1)), key=jr.key(2))[0].dynamics
    z = jr.normal(jr.key(3), (4,))
    np.testing.assert_allclose(learned.dynamics.model(z).mean, expected.model(z).mean, atol=1e-6)


def test_predictions_move_the_past_actions_exactly(fitted):
    env, rows, buffer, _, learned = fitted
    problem = learned.problem(env)
    s = jnp.append(jnp.asarray(rows.x[7]), 0.0)  # and the reward of the last step
    after = problem.dynamics(s, jnp.asarray(rows.u[7]), jnp.asarray(0))
    np.testing.assert_array_equal(after.mean[3:5], rows.x_next[7, 3:5])
    np.testing.assert_array_equal(after.std[3:5], 0)
    assert after.std.shape == (6,) and after.cov.shape == (6, 6) and (after.std[:3] > 0).all() and after.std[5] > 0
    np.testing.assert_allclose(jnp.sqrt(jnp.diagonal(after.cov)), after.std, rtol=1e-5)
    inner = learned.dynamics(jnp.append(s[:3], s[5]), s[4:5], jnp.asarray(0))
    np.testing.assert_array_equal(after.mean[jnp.array([0, 1, 2, 5])], inner.mean)
    sample = after.sample(key=jr.key(0))
    np.testing.assert_array_equal(sample[3:5], after.mean[3:5])
    assert jnp.isfinite(after.log_prob(sample)) and isinstance(problem.dynamics, DelayedModel)
    assert float(learned.one_step_error(rows, buffer)) < 2


def test_options_are_recorded_and_checked():
    environment = Environment(PENDULUM, action_delay=1, observation_delay=2)
    assert Environment.from_record(environment.record()) == environment
    assert environment.open().delay.steps == 3
    assert open_env(PENDULUM, action_delay=0).space.size == 2
    for wrong in (-1, 1.5, True):
        with pytest.raises(UsageError, match="action_delay must be a whole number of steps"):
            Environment.of(PENDULUM, action_delay=wrong)
    with pytest.raises(UsageError, match="a delay needs a vector of real numbers"):
        open_env("forethought/DynaMaze-v0", action_delay=1)
    with pytest.raises(UsageError, match="has a delay or a limited action rate already"):
        with_delay(environment.open(), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mpc", "policy-gradient"])
def test_training_resumes_exactly(name, tmp_path):
    """A learned and a model-free algorithm."""
    algorithm = {
        "mpc": ft.LearnedMPC(
            model=Ensemble(members=2, hidden=(8,), max_epochs=2),
            planner=ft.CEM(horizon=3, population=8, elites=2, particles=2),
        ),
        "policy-gradient": ft.PolicyGradient(),
    }[name]
    for out, stops in (("whole", (3,)), ("parts", (1, 3))):
        for iterations in stops:
            options = {"resume": True, "progress": False, "action_delay": 2}
            run = ft.train(algorithm, PENDULUM, iterations=iterations, out=tmp_path / out, **options)
    whole, parts = (ft.load(tmp_path / out) for out in ("whole", "parts"))
    equal = jax.tree.map(lambda a, b: np.array_equal(a, b, equal_nan=True), *(_plain(one) for one in (whole, parts)))
    assert all(jax.tree.leaves(equal))
    assert run.env.space.size == 4 and len(run.evaluate(episodes=1).lengths) == 1


def _plain(run):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(run.state) if eqx.is_array(leaf)]


# A limited action rate


RATE = 6.0  # N m / s, 0.3 in each step of 0.05 s


def limited_by_hand(steps, delay, act):
    """As `by_hand`, with actions that change by at most 0.3 in a step; also what was sent."""
    env, x = shipped("PendulumSwingUp-v0"), jnp.array(X0["x0"][:2])
    sent = [jnp.zeros(1)] * max(delay, 1)
    xs, all_sent = [x], []
    for t in range(steps):
        u = env.task.action_space.clip(act(x, sent, t))
        v = jnp.clip(u, sent[0] - 0.3, sent[0] + 0.3)
        all_sent.append(v)
        acting = sent[delay - 1] if delay else v
        sent = [v, *sent][: max(delay, 1)]
        x = env.problem.dynamics(x, acting, jnp.asarray(t)).mean
        xs.append(x)
    return np.asarray(jnp.stack(xs)), np.asarray(jnp.stack(all_sent))


class Swinging(eqx.Module):
    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return (2.4 * jnp.sin(1.0 * t) - 0.2 * x[1] + 0.1 * x[2])[None], carry


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_a_limited_rate_against_a_loop(delay):
    env = open_env(PENDULUM, action_delay=delay, action_rate=RATE)
    slots = max(delay, 1)
    start = {"x0": [*X0["x0"][:2], *[0.0] * slots]}
    episode = env.run(Swinging(), key=jr.key(0), options=start, steps=10)

    def act(x, sent, t):
        return Swinging().act(jnp.concatenate([x, *sent]), jnp.asarray(float(t)), (), key=None)[0]

    xs, sent = limited_by_hand(10, delay, act)
    np.testing.assert_allclose(episode.x_next[:, :2], xs[1:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(episode.x_next[:, 2], sent[:, 0], rtol=1e-5, atol=1e-6)
    assert np.abs(np.diff(sent[:, 0])).max() > 0.29  # the limit acted
    undelayed = env.delay.undelayed(episode)
    for x, u, x_next in zip(undelayed.x, undelayed.u, undelayed.x_next, strict=True):
        now = shipped("PendulumSwingUp-v0").problem.dynamics(jnp.asarray(x), jnp.asarray(u), jnp.array(0)).mean
        np.testing.assert_allclose(x_next, now, rtol=1e-4, atol=1e-5)


def test_a_gymnasium_environment_is_sent_slowly_changing_actions():
    class Recording(gym.Wrapper):
        sent = []

        def step(self, action):
            self.sent.append(float(action[0]))
            return self.env.step(action)

    raw = Recording(gym.make("Pendulum-v1"))
    env = open_env(raw, action_rate=(4.0,))  # 0.2 in each step of 0.05 s
    episode = env.run(Uniform(env.task.action_space), key=jr.key(0), steps=30)
    assert np.abs(np.diff([0.0, *raw.sent])).max() <= 0.2 + 1e-6
    assert env.space.size == 4
    np.testing.assert_allclose(episode.x_next[:, 3], raw.sent, rtol=1e-5)


def test_bad_action_rates_are_refused():
    for options, message in (
        ({"action_rate": 0.0}, "positive number"),
        ({"action_rate": (1.0, 2.0)}, "actions of 1 numbers, and there are 2"),
    ):
        with pytest.raises(UsageError, match=message):
            open_env(PENDULUM, **options)
    with pytest.raises(UsageError, match="continuous actions"):
        open_env("CartPole-v1", action_rate=1.0)


def test_a_model_is_learned_of_the_system_alone_under_a_limited_rate():
    env = open_env(PENDULUM, action_rate=RATE)
    learning = ModelLearning(Ensemble(members=1, hidden=(8,), max_epochs=1))
    learned = learning.init(env, key=jr.key(0))
    x = jnp.array([0.1, 0.2, 1.0])
    problem = learned.problem(env)
    after = problem.dynamics(x, jnp.array([2.0]), jnp.array(0)).mean
    assert after.shape == (3,) and after[2] == pytest.approx(1.3, abs=1e-5)
    alone = learned.dynamics(x[:2], jnp.array([1.3]), jnp.array(0)).mean
    np.testing.assert_allclose(after[:2], alone, rtol=1e-4, atol=1e-5)
