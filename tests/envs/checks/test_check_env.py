import gymnasium as gym
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Transition, UsageError
from forethought.envs import check_env
from forethought.envs.checks.recorded_data import check_data
from tests.envs.toy_envs import Cart, Drifting, Linear, Misbehaving, limited


def found(report, name):
    """The findings of a name, which there must be, as (levels, text)."""
    findings = report.named(name)
    assert findings, f"nothing about {name} in {report}"
    return {f.level for f in findings}, " | ".join(f"{f.detail} -> {f.remedy}" for f in findings)


def checked(env, name, level, *texts, **options):
    report = check_env(env, **options)
    levels, text = found(report, name)
    assert levels == {level}, text
    assert all(part in text for part in texts), text
    assert "\n" not in text
    return report


def linear(steps=20, **options):
    return limited(Linear(**options), steps)


def quadratic(x, u):
    return x @ x + u @ u


def test_a_sound_environment_with_its_own_cost():
    report = check_env(linear(), cost=quadratic, termination=lambda x: x[0] > 1e9)
    assert {f.level for f in report.findings} == {"ok"}, [f for f in report.findings if f.level != "ok"]
    assert not report.failed and report.exit_status == 0
    assert (report.env, report.episodes, report.steps) == ("Linear", 10, 200)
    assert "is the negative reward at all 200 steps" in found(report, "cost")[1]


def test_an_environment_of_gymnasium():
    report = check_env("Pendulum-v1", episodes=2)
    assert not report.failed and report.steps == 400


def test_one_of_our_own():
    report = check_env("forethought/CartPoleSwingUp-v0", episodes=2)
    assert not report.failed
    assert "is the negative reward" in found(report, "cost")[1] and "agrees" in found(report, "termination")[1]


def test_names_that_do_not_exist_are_wrong_use():
    with pytest.raises(UsageError, match="did you mean"):
        check_env("Pendulun-v1")
    with pytest.raises(UsageError, match="No module named"):
        check_env(linear(), cost="nowhere:cost")


def test_spaces():
    several = linear()
    several.action_space = gym.spaces.MultiDiscrete([2, 3])
    report = checked(several, "action space", "fail", "MultiDiscrete([2 3])", "must be continuous", "wrap it")
    assert report.exit_status == 1 and report.steps == 0
    report = checked("CartPole-v1", "action space", "ok")
    assert report.named("action space")[0].detail == "Discrete(2)"
    choices = linear()
    choices.action_space = gym.spaces.Discrete(1000)
    checked(choices, "action space", "ok", "Discrete(1000)")
    image = linear()
    image.observation_space = gym.spaces.Box(0, 255, (64, 64, 3))
    image.action_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    levels, text = found(check_env(image), "observation space")
    assert levels == {"warn"} and "image" in text


def test_the_clock():
    checked(Linear(), "time limit", "warn", "did not end within 500 steps", "--horizon", "max_episode_steps")
    checked(Linear(bound=-1e9), "time limit", "ok", "ended by themselves after at most 1 step")
    checked(Linear(), "time limit", "ok", "7 steps", horizon=7)
    timeless = linear()
    timeless.unwrapped.metadata = {"render_modes": []}
    checked(timeless, "time step", "warn", "taken as 1 s")


def test_a_time_limit_that_is_reported_as_termination():
    class Ending(Linear):
        def step(self, action):
            x, reward, *_ = super().step(action)
            return x, reward, len(self.actions) % 7 == 0, False, {}

    class Wandering(Ending):
        def step(self, action):
            x, reward, *_ = super().step(action)
            return x, reward, bool(abs(self.x[0]) > 0.5), False, {}

    checked(limited(Ending(), 50), "episode length", "warn", "all 29 episodes", "exactly 7 steps", "as truncated")
    assert not check_env(limited(Wandering(), 50)).named("episode length")


def test_a_cost_of_truth_values():
    assert check_env(linear(), cost=lambda x, u: x[0] > 0).named("cost")


def test_wrappers_that_reset_by_themselves():
    checked(gym.wrappers.Autoreset(linear()), "wrappers", "warn", "Autoreset")


class Forgetful(Linear):
    def reset(self, **kwargs):
        super().reset(**kwargs)
        self.x = np.random.default_rng().normal(size=2)
        return self.x.copy(), {}


def test_repeatability():
    checked(limited(Forgetful(), 20), "repeatability", "fail", "different initial state", "self.np_random")
    checked(limited(Drifting(), 20), "repeatability", "fail", "different result at step 1", "across resets")


def test_velocities_and_their_time_step():
    checked(limited(Cart(), 40), "velocities", "ok", "a time step of 0.05 s", velocities=((0, 1),))
    said = ("do not fit the time step of 0.1 s", "0.05 s times", "--dt")
    checked(limited(Cart(), 40), "velocities", "fail", *said, velocities=((0, 1),), dt=0.1)
    assert not check_env(limited(Cart(), 40)).named("velocities")


def test_what_gymnasium_says_is_passed_on():
    class Listing(Linear):
        def step(self, action):
            x, *rest = super().step(action)
            return x.astype(np.float32), *rest

    checked(limited(Listing(), 20), "gymnasium", "warn", "expecting numpy array dtype to be float64")


@pytest.mark.parametrize(
    ("change", "said", "remedy"),
    [
        (
            lambda values: (*values[:2], values[2], {}),
            "returned 4 values at step 1",
            "return Gymnasium's five values: obs",
        ),
        (lambda values: values[0], "returned a ndarray at step 1", "return Gymnasium's five values"),
        (lambda values: (values[0], np.ones(1), *values[2:]), r"a reward of shape [1] at step 1", "return a float"),
        (lambda values: (values[0], "good", *values[2:]), "a reward of type str at step 1", "return a float"),
        (lambda values: (values[0], None, *values[2:]), "a reward of type NoneType at step 1", "return a float"),
    ],
)
def test_steps_of_another_form_than_gymnasiums(change, said, remedy):
    class Old(Linear):
        def step(self, action):
            return change(super().step(action))

    report = check_env(Old(), horizon=20)
    (finding,) = report.named("episodes")
    assert finding.level == "fail" and said in finding.detail and finding.remedy.startswith(remedy)


def test_an_old_step_behind_a_wrapper_and_an_old_reset():
    class Old(Linear):
        def step(self, action):
            x, reward, ended, _, info = super().step(action)
            return x, reward, ended, info

    class OldReset(Linear):
        def reset(self, **options):
            return super().reset(**options)[0]

    checked(limited(Old(), 20), "episodes", "fail", "expected 5, got 4", "return Gymnasium's five values")
    checked(OldReset(), "episodes", "fail", "returned a ndarray when it was reset", "two values: observation, info")


def test_failures_in_the_middle_of_an_episode():
    env = limited(Misbehaving(30, lambda x, r: (x * np.nan, r)), 20)
    report = checked(env, "episodes", "fail", "coordinate 0 of the observation is nan at step 10")
    assert report.episodes == 2 and report.steps == 29


class Shown(gym.ObservationWrapper):
    """`Linear`, observed through a function."""

    def __init__(self, show, n):
        super().__init__(linear())
        self.show = show
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (n,), np.float64)

    def observation(self, x):
        return np.array(self.show(x))


def test_observations_that_tell_little():
    checked(Shown(lambda x: [x[0], 5.0, x[1], 7.0], 4), "observations", "warn", "coordinates 1, 3 never changed")
    checked(Shown(lambda x: [5.0], 1), "observations", "fail", "no coordinate ever changed")
    checked(Shown(lambda x: [x[0] * 1e8, x[1]], 2), "scale", "warn", "coordinate 0 reached")
    checked(Shown(lambda x: [x[0], x[1] + 1e5], 2), "scale", "warn", "coordinate 1 vary little relative to")
    checked(Shown(lambda x: [x[0] * 1e-7, x[1]], 2), "scale", "warn", "coordinate 0 stayed below", "another unit")


class Spinning(gym.Env):
    """An angle that turns one way, observed wrapped or not, with its rate and a phase that is no angle."""

    metadata = {"render_fps": 10}
    dt = 0.1

    def __init__(self, wrapped):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.wrapped = wrapped

    def observe(self):
        angle = (self.angle + np.pi) % (2 * np.pi) - np.pi if self.wrapped else self.angle
        return np.array([self.rate, angle])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.angle, self.rate = self.np_random.uniform(-1, 1), 3 + self.np_random.uniform(-1, 1)
        return self.observe(), {}

    def step(self, action):
        rate = self.rate + 0.2 * float(action[0])
        self.angle += self.dt * 0.5 * (self.rate + rate)
        self.rate = rate
        return self.observe(), float(np.cos(self.angle)), False, False, {}


def test_angles():
    checked(limited(Spinning(True), 50), "angles", "warn", "coordinate 1 jumps by 2 pi", "-> pass --angles 1")
    checked(limited(Spinning(False), 50), "angles", "warn", "coordinate 1 moves smoothly", "if it is an angle")
    for wrapped in (True, False):
        checked(limited(Spinning(wrapped), 50), "angles", "ok", "coordinate 1 given", angles=(1,))


def test_costs_that_differ_from_the_reward():
    def cost(sign=1.0, extra=0.0):
        return lambda x, u: sign * quadratic(x, u) + extra * jnp.where(x[0] > 1, 1.0, 0.0)

    checked(linear(), "cost", "fail", "check the sign", cost=cost(-1.0))
    checked(linear(), "cost", "warn", "correlation", "differs most in episode", cost=cost(1.0, 10.0))
    checked(linear(), "cost", "warn", "always 2", cost=lambda x, u: 2.0)
    checked(linear(), "cost", "fail", "nan at", "guard", cost=lambda x, u: jnp.log(x[0]))
    checked(linear(), "cost", "fail", "cannot be traced", "jax.numpy", cost=lambda x, u: np.sum(np.array(x)))
    checked(linear(), "cost", "fail", "one number", "index or sum", cost=lambda x, u: x)


def test_gradients():
    report = checked(linear(), "cost gradient", "warn", "x = 0, u = 0", "sqrt", cost=lambda x, u: jnp.sqrt(x @ x))
    assert not report.failed
    checked(linear(), "cost gradient", "warn", "steps, first in episode 1", cost=lambda x, u: jnp.sqrt(x[0]) + u[0])


class Noisy(Linear):
    """Rewarded for where noise takes it."""

    def step(self, action):
        _, _, *rest = super().step(action)
        self.x += self.np_random.normal(size=2)
        return self.x.copy(), -float(self.x @ self.x), *rest


def test_rewards():
    env = limited(Noisy(), 20)
    checked(env, "reward", "warn", "depends on the state after the step")
    checked(env, "cost", "warn", "of the state after the step", cost=lambda x, u: x @ x)
    boring = Misbehaving(0, None)
    boring.step = lambda action: (Linear.step(boring, action)[0], 0.0, False, False, {})
    checked(limited(boring, 20), "reward", "warn", "always 0 under random actions")


def test_termination_functions():
    env = linear(bound=0.5)
    checked(env, "termination", "ok", "will be learned")
    checked(env, "termination", "ok", "agrees with the environment", termination=lambda x: x[0] > 0.5)
    checked(env, "termination", "fail", "misses", "terminations", "x = [", termination=lambda x: x[0] > 1e9)
    checked(env, "termination", "fail", "after which the environment went on", termination=lambda x: x[0] > -0.5)
    checked(env, "termination", "fail", "cannot be traced", termination=lambda x: bool(x[0] > 0))


def test_a_coordinate_whose_unit_is_a_length_is_no_angle():
    rate = 3 + np.sin(np.arange(101) / 9)
    moved = np.concatenate([[0], np.cumsum(0.05 * 0.5 * (rate[1:] + rate[:-1]))])  # more than 2 pi
    x, still = np.stack([moved, rate], axis=1).astype(np.float32), np.zeros(100, bool)
    episode = Transition(x[:-1], np.zeros((100, 1), np.float32), x[1:], x[1:, 0], still, still)
    told = [
        next(finding.detail for finding in check_data([episode], (), 0.05, (name, "rate")) if finding.name == "angles")
        for name in ("position (m)", "turn (rad)", "turn")
    ]
    assert told[0] == "none seen" and "coordinate 0 moves smoothly" in told[1] and told[1] == told[2]
