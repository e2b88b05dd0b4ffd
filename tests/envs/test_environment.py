"""An environment is opened again from its record as it was opened first."""

import json

import gymnasium as gym
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import CheckpointError, UsageError
from forethought.envs import Environment, open_env
from forethought.envs.environment import opening_notes
from forethought.envs.random_actions import RandomActions

from .toy_envs import Cart, Linear, limited

OLD_RECORD = {"spec": "Pendulum-v1", "name": "Pendulum-v1", "cost": None, "termination": None, "angles": [2]}


def price(x, u):
    return jnp.sum(x**2) + jnp.sum(u**2)


def never(x):
    return jnp.any(x != x)


def again(environment):
    """Through JSON and back."""
    return Environment.from_record(json.loads(json.dumps(environment.record())))


def stays(x, u):
    return x


EVERYTHING = Environment(
    "Pendulum-v1",
    cost=f"{__name__}:price",
    termination=f"{__name__}:never",
    physics=f"{__name__}:stays",
    angles=(2,),
    velocities=((0, 2),),
    names=("cosine", "sine", "angular velocity (rad/s)"),
    constraint=f"{__name__}:price",
    risk=0.2,
    constraint_steps=3,
    horizon=30,
    dt=0.1,
    make_kwargs={"g": 9.0},
)


def test_all_options_are_recorded():
    assert again(EVERYTHING) == EVERYTHING and hash(EVERYTHING) == hash(again(EVERYTHING))
    env = again(EVERYTHING).open()
    assert env.space.angles == (2,) and env.task.horizon == 30 and env.task.dt == 0.1
    assert not env.learn_reward and not env.learn_termination
    assert env.space.names == EVERYTHING.names


def test_the_options_are_one_list():
    """The test above gives every option that a foreign environment takes; a new one must be added to it.

    Delays are in `test_delayed.py`, since they change the observations.
    """
    others = {"id", "observation_noise", "action_delay", "action_rate", "observation_delay"}
    assert set(EVERYTHING.given()) == {f for f in Environment.__dataclass_fields__} - others


def test_without_options_the_rest_is_learned():
    env = again(Environment("Pendulum-v1")).open()
    assert env.space.angles == () and env.learn_reward and env.learn_termination


@pytest.mark.parametrize("noise", [0.01, (0.01, 0.0, 0.02, 0.0)])
def test_sensor_noise_is_recorded(noise):
    environment = Environment("forethought/CartPoleSwingUp-v0", observation_noise=noise)
    env = environment.open()
    assert again(environment).open().observation_std == env.observation_std == noise
    assert Environment(env).record()["observation_noise"] == environment.record()["observation_noise"]


def test_records_of_earlier_versions():
    """Runs recorded before an option existed resume: the record is what it was."""
    assert Environment("Pendulum-v1", angles=(2,)).record() == OLD_RECORD
    assert Environment("forethought/CartPoleSwingUp-v0", observation_noise=0.0).record().keys() == OLD_RECORD.keys()
    renamed = Environment.from_record(OLD_RECORD | {"speeds": [[0, 2]]})
    assert renamed == Environment("Pendulum-v1", angles=(2,), velocities=((0, 2),))


def test_an_object_takes_over_what_was_recorded():
    record = Environment(limited(Linear()), cost=price, angles=(0,), horizon=3).record()
    assert record["spec"] is None and record["name"] == "Linear"
    with pytest.raises(UsageError, match="given as an object; pass it again"):
        Environment.from_record(record)
    env = Environment.from_record(record, limited(Linear())).open()
    assert env.space.angles == (0,) and env.task.horizon == 3 and not env.learn_reward
    told = Environment.from_record(record, Environment(limited(Linear()), angles=(1,)), horizon=2)
    assert (told.angles, told.horizon, told.cost) == ((1,), 2, record["cost"])


@pytest.mark.parametrize(
    "damage",
    [{"angles": ["a"]}, {"horizon": "ten"}, {"dt": -1}, {"speeds": [[0]]}, {"cost": 3}, {"nonsense": 1}, {"spec": 7}],
    ids=str,
)
def test_altered_records_are_one_clear_error(damage):
    with pytest.raises(CheckpointError, match="record of its environment is damaged: .*"):
        Environment.from_record(OLD_RECORD | damage)
    with pytest.raises(CheckpointError, match=r"damaged: it lacks \['angles'\]"):
        Environment.from_record({name: value for name, value in OLD_RECORD.items() if name != "angles"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"angels": (0,)}, "There is no option 'angels'; did you mean 'angles'?"),
        ({"angles": (-1,)}, "angles must be indices"),
        ({"angles": 0}, "angles must be indices"),
        ({"velocities": ((0, 1, 2),)}, "velocities must be pairs"),
        ({"horizon": 0}, "at least 1, not 0"),
        ({"horizon": 2.5}, "whole number of steps"),
        ({"dt": float("nan")}, "positive number of seconds"),
        ({"cost": 3.0}, 'or its "module:function"'),
        ({"observation_noise": "much"}, "standard deviation"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(options, said):
    with pytest.raises(UsageError) as caught:
        Environment.of("Nowhere-v0", **options)
    assert said in str(caught.value)


def test_options_come_in_any_form():
    given = Environment.of("Pendulum-v1", angles=[np.int64(2)], speeds=[[0, 2]], cost=None)
    assert given == Environment("Pendulum-v1", angles=(2,), velocities=((0, 2),))
    assert Environment.of(given, horizon=3, angles=None) == Environment(
        "Pendulum-v1", angles=(2,), velocities=((0, 2),), horizon=3
    )
    assert open_env(given, horizon=3).task.horizon == 3


def test_an_environment_that_ends_its_episodes_itself_needs_no_time_limit():
    class Ending(Linear):
        def step(self, action):
            x, reward, *_ = super().step(action)
            return x, reward, False, len(self.actions) % 6 == 0, {}

    environment = Environment(Ending())
    env = environment.open()
    episode = env.run(RandomActions(env.task.action_space), key=jr.key(0))
    assert len(episode) == 6 and episode.truncated[-1] and env.task.horizon == 10_000
    (note,) = opening_notes(environment, env)
    assert "no registered time limit" in note and "10,000 steps" in note and "--horizon" in note
    assert opening_notes(Environment(Ending(), horizon=4), Environment(Ending(), horizon=4).open()) == ()
    assert opening_notes(Environment("Pendulum-v1"), open_env("Pendulum-v1")) == ()


@pytest.mark.parametrize("fps", [None, 100])
def test_an_unknown_time_step_is_inferred_for_velocities(fps):
    environment = Environment(limited(Cart(fps), 40), velocities=((0, 1),))
    env = environment.open()
    assert env.task.dt == env.space.dt == 0.05
    (note,) = opening_notes(environment, env)
    assert "0.05 s, was inferred" in note and "--dt" in note
    assert Environment(limited(Cart(fps), 40), velocities=((0, 1),), dt=0.1).open().space.dt == 0.1
    assert Environment(limited(Cart(fps), 40)).open().task.dt == (1.0 if fps is None else 0.01)


def test_velocities_that_no_time_step_fits_are_refused():
    with pytest.raises(UsageError, match="velocities need the time step of Cart, .* --dt SECONDS"):
        Environment(limited(Cart(), 40), velocities=((1, 0),)).open()


def test_names():
    class Plain(gym.Env):
        pass

    assert Environment(Plain()).name == "Plain" and Environment(Environment("a/B-v0").id).name == "a/B-v0"
    assert Environment(open_env("forethought/PendulumSwingUp-v0")).name == "forethought/PendulumSwingUp-v0"
