"""PETS on the cart-pole, killed and resumed: the same bits as without the kill."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import leaves

from forethought.runs.run import load

ROUNDS = 4
SCRIPT = f"""
import sys
import forethought as ft
pets = ft.PETS(
    model=ft.Ensemble(members=2, hidden=(16,), max_epochs=5),
    planner=ft.CEM(horizon=5, population=20, elites=4, iterations=2, particles=2),
)
ft.train(pets, "forethought/CartPoleSwingUp-v0", iterations={ROUNDS}, out=sys.argv[1], resume=True)
"""


def _start(out):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", SCRIPT, str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(process):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_random_moments_and_resumed(tmp_path, seed):
    _finish(_start(tmp_path / "whole"))
    out, moments = tmp_path / "run", random.Random(seed)
    metrics = out / "metrics.jsonl"
    for kill in range(3):
        process = _start(out)
        end = time.monotonic() + 300
        while not (metrics.exists() and metrics.read_bytes().count(b"\n") > kill) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 1.0))
        process.kill()
        said, _ = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), said  # 0: it was through before the kill
    _finish(_start(out))
    whole, resumed = load(tmp_path / "whole"), load(out)
    assert resumed.progress.iteration == ROUNDS and resumed.info["status"] == "done"
    assert leaves(resumed.state) == leaves(whole.state)
    assert [line["return"] for line in resumed.metrics] == [line["return"] for line in whole.metrics]
