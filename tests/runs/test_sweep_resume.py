"""A sweep that is killed at random moments and continued leaves the files of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PETS = """
[algorithms.pets.settings]
model = { members = 2, hidden = [16], max-epochs = 5 }
planner = { horizon = 5, population = 20, elites = 4, iterations = 2, particles = 2 }
"""
OTHERS = """
[algorithms.pets-icem]
algorithm = "pets"
[algorithms.pets-icem.settings]
model = { members = 2, hidden = [16], max-epochs = 5 }
planner = { class = "icem", horizon = 5, population = 20, elites = 4, iterations = 2, particles = 2 }
[algorithms.pilco.settings]
policy.basis-functions = 5
model = { restarts = 1, evaluations = 30 }
trials.steps = 12
horizon.initial = 12
search = { restarts = 1, screening = 3, finalists = 1, evaluations = 4 }
"""
SMALL = 'seeds = [0, 1]\niterations = 3\nenvironments = ["forethought/PendulumSwingUp-v0"]\n' + PETS
ENVS = 'environments = ["forethought/PendulumSwingUp-v0", "forethought/CartPoleSwingUp-v0"]\n'
LARGE = "seeds = [0, 1, 2]\niterations = 3\n" + ENVS + PETS + OTHERS


def start(file, *words):
    command = [sys.executable, "-m", "forethought", "sweep", str(file), *words]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process):
    said, _ = process.communicate(timeout=3000)
    assert process.returncode == 0, said
    return said


def rounds(out):
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*/metrics.jsonl"))


def without_times(line):
    return {name: value for name, value in line.items() if name not in ("wall_s", "steps_per_s")}


def content(out):
    """The files of all runs by name, without what depends on the clock."""
    found = {}
    for run in sorted(path.parent for path in out.glob("*/run.json")):
        info = json.loads((run / "run.json").read_text())
        found[run.name, "run"] = {name: info[name] for name in ("status", "algorithm", "env", "seed", "budget")}
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found[run.name, "metrics"] = [without_times(line) for line in lines]
        for path in sorted([*(run / "checkpoints").iterdir(), *(run / "transitions").iterdir()]):
            if path.suffix == ".json" and path.parent.name == "checkpoints":
                manifest = json.loads(path.read_text())
                standing = without_times(manifest["standing"])
                found[run.name, path.name] = manifest | {"standing": standing, "digest": None}  # of the times too
            else:
                found[run.name, path.parent.name, path.name] = path.read_bytes()
    return found


def killed_and_continued(tmp_path, text, runs, kills):
    whole, broken = tmp_path / "whole.toml", tmp_path / "broken.toml"
    for file in (whole, broken):
        file.write_text(f'out = "{tmp_path / file.stem}"\nworkers = 1\n' + text)
    said = finish(start(whole))
    assert f"{runs} of {runs} runs are done" in said
    out, moments = tmp_path / "broken", random.Random(0)
    total = rounds(tmp_path / "whole")
    for kill in range(kills):
        process, goal, end = start(broken), total * (2 * kill + 1) // (2 * kills), time.monotonic() + 600
        while rounds(out) < goal and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.5))
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
    before = {path: path.stat().st_mtime_ns for path in done(out)}
    finish(start(broken))
    assert content(out) == content(tmp_path / "whole")
    assert before == {path: path.stat().st_mtime_ns for path in before}  # finished runs were left alone


def done(out):
    return [path for path in out.glob("*/run.json") if json.loads(path.read_text())["status"] == "done"]


@pytest.mark.slow
def test_two_runs_killed_and_continued(tmp_path):
    killed_and_continued(tmp_path, SMALL, runs=2, kills=2)


@pytest.mark.slow
def test_three_algorithms_two_environments_three_seeds_killed_and_continued(tmp_path):
    killed_and_continued(tmp_path, LARGE, runs=18, kills=5)


@pytest.mark.slow
def test_a_ray_worker_is_killed_and_its_run_resumes(tmp_path):
    pytest.importorskip("ray")
    whole, broken = tmp_path / "whole.toml", tmp_path / "broken.toml"
    text = SMALL.replace("iterations = 3", "iterations = 4")
    for file in (whole, broken):
        file.write_text(f'out = "{tmp_path / file.stem}"\nworkers = 2\ncores = 1\nretries = 2\n' + text)
    finish(start(whole))
    process, out = start(broken, "--ray", "local"), tmp_path / "broken"
    victim = None
    while victim is None and process.poll() is None:
        time.sleep(0.01)
        begun = [path.parent for path in out.glob("*/metrics.jsonl") if path.stat().st_size]
        victim = next((run for run in begun if holder(run) is not None), None)
    assert victim is not None, finish(process)
    os.kill(holder(victim), signal.SIGKILL)
    said = finish(process)
    assert "2 of 2 runs are done" in said
    assert content(out) == content(tmp_path / "whole")
    starts = {run.name: (run / "train.log").read_text().count("training in") for run in out.iterdir()}
    assert starts.pop(victim.name) == 2 and list(starts.values()) == [1]


def holder(run):
    """The process that holds the lock of a run."""
    inode = os.stat(run / ".lock").st_ino
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return next((int(row[4]) for row in rows if row[1] == "FLOCK" and row[5].endswith(f":{inode}")), None)
