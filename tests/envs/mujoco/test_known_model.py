import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv

from forethought.core import UsageError
from forethought.envs.mujoco.known_model import known_model, known_system
from forethought.planning.mpc import MPC
from forethought.planning.particles import expected_cost
from forethought.planning.random_shooting import RandomShooting
from tests.dynamics.test_mujoco import CART

SLOW = ["HalfCheetah-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "Pusher-v5", "Swimmer-v5", "HumanoidStandup-v5"]
IDS = ["Hopper-v5", "Reacher-v5", "InvertedDoublePendulum-v5", *(pytest.param(i, marks=pytest.mark.slow) for i in SLOW)]


@pytest.mark.parametrize("name", IDS)
def test_rolled_states_rewards_and_ends_are_those_of_the_environment(name):
    with jax.enable_x64(True):
        env, problem = known_system(name, threads=1)
        real, task, k = env._env, problem.task, problem.dynamics.simulator.size
        x = x0 = real.reset(seed=3)[0]
        rng = np.random.default_rng(0)
        us = rng.uniform(task.action_space.low, task.action_space.high, (15, task.action_space.size)).astype(np.float32)
        xs = np.asarray(problem.dynamics.simulate(jnp.asarray(x0), jnp.asarray(us, float)[None])[0])
        for t, u in enumerate(us):
            x, reward, ended, _, _ = real.step(u)
            np.testing.assert_allclose(xs[t + 1, :k], x[:k], rtol=0, atol=1e-12)
            # Forces of the very first state may differ: see Replay
            assert xs[t + 1, -2] == pytest.approx(reward, abs=1e-4 if t == 0 else 1e-9)
            assert xs[t + 1, -1] == ended
            if ended:
                break
        env.close()


class Fall(InvertedPendulumEnv):
    """The step that ends an episode has the reward -50 instead of 1."""

    def step(self, action):
        observation, _, ended, *rest = super().step(action)
        return observation, -50.0 if ended else 1.0, ended, *rest


class Catch(InvertedPendulumEnv):
    """The step that ends an episode has the reward 50."""

    def step(self, action):
        observation, _, ended, *rest = super().step(action)
        return observation, 50.0 if ended else 1.0, ended, *rest


@pytest.mark.parametrize("entry", [Fall, Catch])
@pytest.mark.parametrize("termination", [None, lambda x: jnp.abs(x[1]) > 0.2, lambda x: jnp.abs(x[1]) > 0.1])
@pytest.mark.parametrize("cost", [None, lambda x, u: 2.0 + 0 * x[0]])
def test_expected_cost_is_minus_the_return_of_the_environment(entry, termination, cost, registered):
    """Also where only one of cost and termination is given: the step that ends the episode counts, nothing after it."""
    env, problem = known_system(registered(entry), threads=1, cost=cost, termination=termination)
    x0 = env._env.reset(seed=0)[0]
    us, expected, ended = jnp.full((30, 1), 3.0), 0.0, False
    while not ended:
        x, reward, ended, _, _ = env._env.step(np.array([3.0], np.float32))
        ended = ended if termination is None else bool(termination(jnp.asarray(x)))
        expected += -reward if cost is None else 2.0
    one = jax.jit(lambda x0: expected_cost(problem, x0, us[None], particles=1, propagation="mean", key=jr.key(0))[0])
    assert one(jnp.asarray(x0, jnp.float32)) == pytest.approx(expected)
    env.close()


def test_a_controller_of_the_model_acts_in_the_environment():
    env, problem = known_system("InvertedPendulum-v5", horizon=12, threads=1)
    episode = env.run(MPC(RandomShooting(hold=1, horizon=10, population=60, particles=1), problem), key=jr.key(0))
    assert len(episode) == 12 and episode.x.shape == (12, problem.dynamics.size)
    np.testing.assert_array_equal(episode.reward, 1.0)
    env.close()


def test_a_cost_of_ones_own_needs_no_replay():
    problem = known_model(
        "InvertedPendulum-v5", cost=lambda x, u: x[1] ** 2 + u[0] ** 2, termination=lambda x: jnp.abs(x[1]) > 0.2
    )
    assert problem.dynamics.reward_function is None and problem.dynamics.size == 4
    x = jnp.array([0.0, 0.3, 0.0, 0.0])
    assert problem.task.cost(x, jnp.ones(1), jnp.array(0)) == pytest.approx(1.09)
    assert problem.task.terminal(x) and not problem.task.terminal(0.5 * x)


def test_first_states_are_those_of_the_reset():
    problem = known_model("InvertedPendulum-v5", threads=1)
    one, again, other = (jax.jit(lambda k: problem.task.initial(key=k))(jr.key(i)) for i in (0, 0, 1))
    assert one.shape == (problem.dynamics.size,)
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other) and np.abs(one).max() <= 0.01


def test_an_mjcf_file_and_a_cost_make_a_problem(tmp_path):
    path = tmp_path / "cart.xml"
    path.write_text(CART)
    for source in (CART, path, str(path)):
        problem = known_model(source, cost=lambda x, u: x @ x, frame_skip=5, horizon=40)
        assert problem.task.horizon == 40 and problem.task.dt == pytest.approx(0.05)
        assert problem.task.action_space.low == -3 and problem.task.action_space.high == 3
        np.testing.assert_array_equal(problem.task.initial(key=jr.key(0)), 0)
        assert not problem.task.terminal(jnp.ones(2))


def test_a_bare_model_is_a_system_to_act_in(tmp_path):
    """Simulated by its own dynamics, from its first keyframe, with the rewards of the cost."""
    path = tmp_path / "cart.xml"
    path.write_text(CART.replace("</mujoco>", '<keyframe><key qpos="0.5"/></keyframe></mujoco>'))
    env, problem = known_system(path, cost=lambda x, u: x[0] ** 2 + 0.1 * u[0] ** 2, dt=0.05, horizon=4, threads=1)
    assert env.name == "cart" and env.space.names == ("slide (m)", "slide velocity (m/s)")
    episode = env.run(MPC(RandomShooting(hold=1, horizon=3, population=8, particles=1), problem), key=jr.key(0))
    q, v = 0.5, 0.0
    for t in range(4):
        np.testing.assert_allclose(episode.x[t], [q, v], atol=1e-6)
        assert episode.reward[t] == pytest.approx(-(q**2) - 0.1 * episode.u[t, 0] ** 2, rel=1e-5)
        for _ in range(5):
            v += 0.01 * episode.u[t, 0] / 2
            q += 0.01 * v
    assert episode.truncated[-1] and not episode.terminated.any()


def test_shipped_systems_are_known_already():
    env, problem = known_system("forethought/CartPoleSwingUp-v0")
    assert env.problem is problem
    assert known_model(env) is problem


class Halved(MujocoEnv):
    """Does not hold its action as it is."""

    metadata = {"render_modes": [], "render_fps": 25}

    def __init__(self, **kwargs):
        space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float64)
        super().__init__("inverted_pendulum.xml", 2, observation_space=space, **kwargs)

    def step(self, action):
        self.do_simulation(0.5 * action, self.frame_skip)
        return np.zeros(4), 0.0, False, False, {}

    def reset_model(self):
        return np.zeros(4)


def rescaled():
    return gym.wrappers.RescaleAction(gym.make("InvertedPendulum-v5"), np.float32(-1), np.float32(1))


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: known_model("CartPole-v1"), "no known model"),
        (lambda: known_model(CART), "pass cost"),
        (lambda: known_model(CART.replace('ctrlrange="-3 3"', ""), cost=lambda x, u: x @ x), "without limits"),
        (lambda: known_model("no/such.xml", cost=lambda x, u: x @ x), "cannot load"),
        (lambda: known_system(CART), "pass cost"),
        (lambda: known_model(rescaled()), "wrapper changes the actions"),
        (lambda: known_model(CART, cost=lambda x, u: x @ x, dt=0.015), "steps of 0.02 s"),
        (lambda: known_model("InvertedPendulum-v5", cost=lambda x, u: x @ x, dt=0.1), "pass dt=0.04"),
        (lambda: known_system("forethought/PendulumSwingUp-v0", dt=0.1), "pass dt=0.05"),
        (lambda: known_system(rescaled(), cost=lambda x, u: x @ x), "wrapper changes the actions"),
        (lambda: known_model(CART, cost=lambda x, u: x), "must return one number"),
    ],
)
def test_what_cannot_be_known_is_refused(make, complaint):
    with pytest.raises(UsageError, match=complaint):
        make()


def test_an_environment_that_changes_its_actions_is_refused(registered):
    with pytest.raises(UsageError, match="more than hold its action"):
        known_model(registered(Halved))
    with pytest.raises(UsageError, match="without a spec"):
        known_model(Halved())
