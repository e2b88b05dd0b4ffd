"""An environment is opened again from its record as it was opened first."""

import json
from dataclasses import dataclass

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from safetensors.numpy import load_file
from toy import Feedback

from forethought.algorithms.protocol import Info
from forethought.core import UsageError
from forethought.runs.driver import train
from forethought.runs.environment import open_world, reopen
from forethought.runs.run import load


def test_what_is_told_about_an_environment_is_recorded():
    env, record = open_world("Pendulum-v1", cost="toy:price", termination="toy:never", angles=(2,), speeds=((0, 2),))
    again = reopen(json.loads(json.dumps(record)))
    assert again.space == env.space
    assert again.space.angles == (2,) and again.space.speeds == ((0, 2),) and again.space.dt == env.task.dt
    assert not again.learn_reward and not again.learn_termination


def test_an_environment_that_nothing_is_told_about_learns_the_rest():
    env = reopen(open_world("Pendulum-v1")[1])
    assert env.space.angles == ()
    assert env.learn_reward


@pytest.mark.parametrize("noise", [0.01, (0.01, 0.0, 0.02, 0.0)])
def test_the_noise_of_sensors_is_recorded(noise):
    env, record = open_world("forethought/CartPoleSwingUp-v0", observation_noise=noise)
    again = reopen(json.loads(json.dumps(record)))
    assert again.observation_std == env.observation_std == noise
    assert open_world(env)[1]["observation_noise"] == record["observation_noise"]  # whichever way it came


def test_no_noise_leaves_no_trace():
    """Runs recorded before there was any resume."""
    plain = open_world("forethought/CartPoleSwingUp-v0")[1]
    assert "observation_noise" not in plain
    assert open_world("forethought/CartPoleSwingUp-v0", observation_noise=0.0)[1] == plain


def test_a_run_with_noise_resumes_to_the_bit_and_is_evaluated_with_it(tmp_path):
    options = {"observation_noise": 0.3, "seed": 3, "progress": False}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    env = "forethought/CartPoleSwingUp-v0"
    train(Drift(), env, iterations=3, out=whole, **options)
    train(Drift(), env, iterations=2, out=cut, **options)
    run = train(Drift(), env, iterations=3, out=cut, resume=True, **options)
    assert (whole / "metrics.jsonl").exists() and run.info["env"]["observation_noise"] == 0.3
    for name in ("episode-000001", "episode-000003"):
        paths = (folder / "transitions" / f"{name}.safetensors" for folder in (whole, cut))
        first, second = (load_file(path) for path in paths)
        assert all(np.array_equal(first[key], second[key]) for key in first)
    with pytest.raises(UsageError, match="observation_noise is 0.3 there and 0.1 here"):
        train(Drift(), env, iterations=4, out=cut, resume=True, **(options | {"observation_noise": 0.1}))
    loaded = load(cut, algorithm=Drift())
    starts = np.stack([episode.x[0] for episode in loaded.evaluate(20).trajectories])
    assert starts.std() > 0.2  # the task's own are 0.1
    given = load(cut, algorithm=Drift(), env=open_world(env)[0])
    assert given.env.observation_std == 0.3


@dataclass(frozen=True)
class Drift:
    """Learns nothing."""

    def init(self, env, *, key):
        return jr.uniform(key, ())

    def iterate(self, state, env, *, key):
        return state + 1, Info([env.run(self.controller(state, env), key=key)], {})

    def controller(self, state, env):
        return Feedback(jnp.ones((1, 4)), state)
