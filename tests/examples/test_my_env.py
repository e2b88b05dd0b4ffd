"""An environment that no one in the library knows, given by its module: one command checks it, one learns it."""

import json
import sys
from pathlib import Path

import gymnasium
import pytest

from forethought.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"
ENV = ["my_env:TargetTracker-v0", "--cost", "my_env:cost", "--termination", "my_env:termination"]
SMALL = "--model.members 3 --model.hidden 48 48 --planner.horizon 12 --planner.population 100 --planner.particles 3"


@pytest.fixture
def examples(monkeypatch):
    """The working directory of someone who wrote `my_env.py`."""
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_env", None)
    gymnasium.registry.pop("TargetTracker-v0", None)


def test_check_finds_no_problem(examples, capsys):
    assert main(["check", *ENV]) == 0
    said = capsys.readouterr().out
    assert "no problem found" in said and "is the negative reward" in said


def test_check_reports_problems(examples, capsys):
    assert main(["check", "my_env:TargetTracker-v0", "--cost", "my_env:termination"]) == 1
    said = capsys.readouterr().out
    assert "fail  cost" in said and said.endswith("\n1 failure, 0 warnings\n")
    assert main(["check", "my_env:TargetTraker-v0"]) == 2
    assert "did you mean 'my_env:TargetTracker-v0'" in capsys.readouterr().err
    assert main(["check", "my_env:TargetTracker-v0", "--cost", "my_env:costs"]) == 2
    assert "did you mean 'cost'" in capsys.readouterr().err


@pytest.mark.slow
def test_one_command_learns_it(examples, tmp_path):
    out = tmp_path / "run"
    assert main(["train", "pets", *ENV, "--iterations", "4", "--out", str(out), *SMALL.split()]) == 0
    returns = [json.loads(line)["return"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(returns) == 4
    assert max(returns[1:]) > 0.5 * returns[0]  # costs: half of what random actions pay, at least
