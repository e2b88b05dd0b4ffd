"""A run keeps what was said about its environment: for resuming, evaluating and loading."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from toy import Wander

from forethought.algorithms.known_mpc import KnownMPC
from forethought.core import UsageError
from forethought.envs import open_env
from forethought.planning.random_shooting import RandomShooting
from forethought.runs.driver import train
from forethought.runs.files import write_json
from forethought.runs.run import load
from forethought.runs.serialization import fingerprint


def test_a_run_with_noise_resumes_bitwise_identical_and_is_evaluated_with_it(tmp_path):
    options = {"observation_noise": 0.3, "seed": 3, "progress": False}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    env = "forethought/CartPoleSwingUp-v0"
    train(Wander(), env, iterations=3, out=whole, **options)
    train(Wander(), env, iterations=2, out=cut, **options)
    run = train(Wander(), env, iterations=3, out=cut, resume=True, **options)
    assert (whole / "metrics.jsonl").exists() and run.info["env"]["observation_noise"] == 0.3
    for name in ("episode-000001", "episode-000003"):
        paths = (folder / "transitions" / f"{name}.safetensors" for folder in (whole, cut))
        first, second = (load_file(path) for path in paths)
        assert all(np.array_equal(first[key], second[key]) for key in first)
    with pytest.raises(UsageError, match="observation_noise is 0.3 there and 0.1 here"):
        train(Wander(), env, iterations=4, out=cut, resume=True, **(options | {"observation_noise": 0.1}))
    loaded = load(cut, algorithm=Wander())
    starts = np.stack([episode.x[0] for episode in loaded.evaluate(20).trajectories])
    assert starts.std() > 0.2  # the task's own are 0.1
    given = load(cut, algorithm=Wander(), env=open_env(env))
    assert given.env.observation_std == 0.3


def test_a_run_of_an_earlier_version_resumes(tmp_path):
    """Its record has another name for an option; its checkpoints carry the fingerprint of that record."""
    options = {"angles": (2,), "velocities": ((0, 2),), "horizon": 3, "dt": 0.05, "progress": False}
    run = train(Wander(3), "Pendulum-v1", iterations=1, out=tmp_path, **options)
    info = run.info
    info["env"]["speeds"] = info["env"].pop("velocities")
    write_as_recorded(tmp_path, info)
    assert train(Wander(3), "Pendulum-v1", iterations=2, out=tmp_path, resume=True, **options).progress.iteration == 2
    with pytest.raises(UsageError, match=r"env.velocities is .* there"):
        train(
            Wander(3), "Pendulum-v1", iterations=3, out=tmp_path, resume=True, **(options | {"velocities": ((1, 2),)})
        )


def test_a_run_of_before_a_setting_existed_resumes_with_its_default(tmp_path):
    def settings(particles):
        return KnownMPC(planner=RandomShooting(horizon=2, population=4, particles=particles))

    env = "forethought/PendulumSwingUp-v0"
    run = train(settings(1), env, iterations=1, out=tmp_path, progress=False)
    default = RandomShooting().particles
    info = run.info
    del info["algorithm"]["settings"]["backup"]
    del info["algorithm"]["settings"]["planner"]["settings"]["particles"]
    write_as_recorded(tmp_path, info)
    with pytest.raises(UsageError, match=f"particles is {default} there and 1 here"):
        train(settings(1), env, iterations=2, out=tmp_path, resume=True, progress=False)
    again = train(settings(default), env, iterations=2, out=tmp_path, resume=True, progress=False)
    assert again.progress.iteration == 2


def write_as_recorded(folder, info):
    """`run.json` with this content, and a checkpoint that belongs to it."""
    old = fingerprint({name: info[name] for name in ("algorithm", "env", "seed")})
    (folder / "run.json").write_text(json.dumps(info | {"fingerprint": old}))
    manifest = json.loads((folder / "checkpoints/000001.json").read_text())
    del manifest["digest"]
    manifest["settings"] = old
    write_json(folder / "checkpoints/000001.json", {**manifest, "digest": fingerprint(manifest)})
