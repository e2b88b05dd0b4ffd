"""`forethought plan` from words to files."""

import json
import sys

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


def test_a_constraint_is_kept_and_counted(tmp_path, capsys):
    limit = "--constraint tests.envs.test_constrained:slow --risk 0 --constraint-steps 3 --no-video"
    words = f"plan forethought/PendulumSwingUp-v0 --planner cem {QUICK} {limit} --out {tmp_path}"
    assert main(words.split()) == 0
    assert "violation" in capsys.readouterr().out.splitlines()[0]
    (told,) = json.loads((tmp_path / "plan.json").read_text())
    assert told["violations"]["total"] == 1 and told["violations"]["largest"] < 1
    assert main("plan forethought/PendulumSwingUp-v0 --risk 0.1".split()) == 2
    assert "give the constraint too" in capsys.readouterr().err


ARM = """<mujoco><option timestep="0.01"/><worldbody><body><joint name="elbow" axis="0 1 0"/>
  <geom type="capsule" size="0.02" fromto="0 0 0 0 0 0.3"/></body></worldbody>
  <actuator><motor joint="elbow" ctrlrange="-1 1"/></actuator></mujoco>"""
COST = """import jax.numpy as jnp
def upright(x, u):
    return 1 - jnp.cos(x[0] - 1.0)
"""


@pytest.fixture
def arm(tmp_path, monkeypatch):
    """In a folder of one's own: an MJCF file and a cost function for it."""
    (tmp_path / "arm.xml").write_text(ARM)
    (tmp_path / "arm_cost.py").write_text(COST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the command adds the working directory
    yield tmp_path
    sys.modules.pop("arm_cost", None)


def test_an_mjcf_file_is_simulated_by_its_own_dynamics(arm, capsys):
    words = f"plan arm.xml --cost arm_cost:upright --dt 0.02 --horizon 6 --planner cem {QUICK} --no-video"
    assert main(words.split()) == 0
    assert "cem" in capsys.readouterr().out
    (told,) = json.loads((arm / "plans" / "arm" / "plan.json").read_text())
    assert told["length"] == 6 and 0 < told["cost"] <= 6 * 0.5  # at rest at first, 1 rad from the goal: 0.46 a step
    assert "elbow (rad)" in (arm / "plans" / "arm" / "plan.html").read_text()
    assert not (arm / "MUJOCO_LOG.TXT").exists()


def test_an_mjcf_file_needs_a_cost_and_a_time_step_that_fits(arm, capsys):
    assert main("plan arm.xml --planner cem".split()) == 2
    assert "pass cost" in capsys.readouterr().err
    assert main("plan arm.xml --cost arm_cost:upright --dt 0.015 --planner cem".split()) == 2
    assert "0.02" in capsys.readouterr().err


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
