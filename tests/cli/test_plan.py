"""`forethought plan` from words to files."""

import json

import pytest

from forethought.cli.main import main

QUICK = "--planner.population 8 --planner.elites 2 --planner.iterations 2 --planner.horizon 3 --planner.particles 1"


def test_json_has_what_scripts_read(capsys):
    words = f"plan forethought/PendulumSwingUp-v0 --planner cem {QUICK} --json"
    assert main(words.split()) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert {"planner", "cost", "converged", "iterations", "wall_s", "success"} <= set(told)
    assert told["planner"] == "cem" and told["receding"] and told["iterations"] == 2
    assert told["success"] is False and told["length"] == 100
    assert 0 < told["latency_s"]["p50"] <= told["latency_s"]["p99"] <= told["wall_s"]


def test_several_planners_share_a_table_and_a_page(tmp_path, capsys):
    flags = "--cem.horizon 3 --cem.population 8 --cem.elites 2 --cem.particles 1 --random-shooting.horizon 3"
    words = f"plan forethought/PendulumSwingUp-v0 --planner cem random-shooting {flags} --out {tmp_path} --no-video"
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == ["planner", "cem", "random-shooting", "page:"]
    page = (tmp_path / "plan.html").read_text()
    assert "random-shooting" in page and page.count("<svg") == 3
    assert [one["planner"] for one in json.loads((tmp_path / "plan.json").read_text())] == ["cem", "random-shooting"]
    assert not list(tmp_path.glob("*.mp4"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--planner cme", "unknown planner 'cme'"),
        ("--planner cem --planner.horizn 3", "--planner.horizon"),
        ("--planner cem --planner.elites 0", "elites"),
        ("--planner cem --budget -1", "--budget must be positive"),
        ("--planner cem --mpc --once", "not allowed"),
    ],
)
def test_wrong_usage_is_told_in_a_line(words, complaint, capsys):
    assert main(["plan", "forethought/PendulumSwingUp-v0", *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_a_model_that_is_not_known_is_refused(capsys):
    assert main("plan MountainCarContinuous-v0 --planner cem".split()) == 2
    assert "MountainCarContinuous-v0" in capsys.readouterr().err
