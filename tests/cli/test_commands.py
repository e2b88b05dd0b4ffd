"""Every flag arrives where it belongs."""

import json

import pytest

import forethought.report
import forethought.runs.driver
import forethought.runs.run
from forethought.algorithms.pets import PETS
from forethought.cli.main import main
from forethought.envs.checks import check_env
from forethought.envs.checks.findings import CheckReport, Finding
from forethought.envs.environment import OPTIONS, Environment
from forethought.envs.violations import Violations
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.icem import ICEM
from forethought.report import html


@pytest.fixture
def trained(monkeypatch):
    """The calls of `train`, as (algorithm, env, options)."""
    calls = []

    class Run:
        path = "runs/somewhere"

    def train(algorithm, env, **options):
        calls.append((algorithm, env, options))
        return Run()

    monkeypatch.setattr(forethought.runs.driver, "train", train)
    return calls


def test_train_without_settings_uses_the_defaults(trained, capsys):
    assert main(["train", "pets", "HalfCheetah-v5", "--env-steps", "500"]) == 0
    ((algorithm, env, options),) = trained
    assert (algorithm, env) == (PETS(), Environment("HalfCheetah-v5"))
    assert options == {
        "env_steps": 500,
        "iterations": None,
        "seed": 0,
        "out": None,
        "resume": False,
        "until_solved": False,
    }
    assert "runs/somewhere" in capsys.readouterr().out


def test_train_passes_everything_on(trained):
    words = "train pets m:E-v0 --iterations 3 --seed 4 --out o --resume --until-solved --cost m:c --termination m:t"
    more = "--angles 1 2 --observation-noise 0.01 --velocities 0:3 1:4 --horizon 30 --dt 0.05 --names a b"
    assert main([*words.split(), *more.split()]) == 0
    ((_, env, options),) = trained
    assert env == Environment("m:E-v0", "m:c", "m:t", (1, 2), ((0, 3), (1, 4)), ("a", "b"), 0.01, 30, 0.05)
    assert options == {
        "env_steps": None,
        "iterations": 3,
        "seed": 4,
        "out": "o",
        "resume": True,
        "until_solved": True,
    }


@pytest.mark.parametrize("pair", ["1", "a:b", "1:"])
def test_velocities_that_are_no_pair(trained, capsys, pair):
    assert main(["train", "pets", "E", "--iterations", "1", "--speeds", pair]) == 2
    assert "POSITION:VELOCITY" in capsys.readouterr().err and not trained


def test_noise_may_differ_between_coordinates(trained):
    assert main("train pets E --iterations 1 --observation-noise 0.01 0 0.02".split()) == 0
    assert trained[0][1].observation_noise == (0.01, 0.0, 0.02)


def test_check_takes_what_train_takes(monkeypatch):
    given = []
    monkeypatch.setattr(check_env, "check_env", lambda env, **options: given.append((env, options)) or REPORT)
    words = (
        "--cost m:c --termination m:t --angles 1 --speeds 0:3 --observation-noise 0.1 --horizon 9 --dt 0.1 --names a "
        "--physics m:p --constraint m:k --risk 0.1 --constraint-steps 3 --action-delay 1 --action-rate 2 "
        "--observation-delay 2"
    )
    assert main(["check", "E-v0", *words.split()]) == 0
    assert set(given[0][1]) == set(OPTIONS) - {"make_kwargs"} and given[0][1]["velocities"] == ((0, 3),)


REPORT = CheckReport("E-v0", (Finding("x", "ok", "fine"),), 1, 1)


@pytest.mark.parametrize(
    ("flags", "algorithm"),
    [
        ("--planner.horizon 30", PETS(planner=CEM(horizon=30))),
        ("--planner.horizon=30", PETS(planner=CEM(horizon=30))),
        ("--planner cem --planner.horizon 30", PETS(planner=CEM(horizon=30))),
        ("--planner icem", PETS(planner=ICEM())),
        ("--planner=icem --planner.beta 3 --planner.horizon 9", PETS(planner=ICEM(beta=3.0, horizon=9))),
        ("--model.hidden 64 32", PETS(model=Ensemble(hidden=(64, 32)))),
        (
            "--model.bootstrap false --model.max_epochs 9 --model.learning-rate 1e-4",
            PETS(model=Ensemble(bootstrap=False, max_epochs=9, learning_rate=1e-4)),
        ),
        ("--random-episodes 2 --planner.propagation ts1", PETS(random_episodes=2, planner=CEM(propagation="ts1"))),
    ],
)
def test_settings_become_the_algorithm(trained, flags, algorithm):
    assert main(["train", "pets", "E-v0", "--iterations", "1", *flags.split()]) == 0
    assert trained[0][0] == algorithm


def test_flags_may_come_first(trained):
    assert main(["train", "--iterations", "1", "--planner.horizon", "30", "pets", "E-v0"]) == 0
    assert trained[0][:2] == (PETS(planner=CEM(horizon=30)), Environment("E-v0"))


def test_a_setting_that_its_class_refuses_is_wrong_usage(trained, capsys):
    assert main(["train", "pets", "E-v0", "--iterations", "1", "--planner.elites", "500"]) == 2
    assert "CEM.elites (500)" in capsys.readouterr().err
    assert trained == []


class Evaluation:
    """As `run.evaluate` gives it."""

    episodes, returns, lengths = 2, (1.0, 3.0), (10, 12)
    mean, std, success = 2.0, 1.41, 0.5
    env_steps, experience_s = 300, 30.0
    violations = Violations(2, 1, 3, 0, 0.25)

    def as_json(self):
        return {"mean": self.mean, "success": self.success}


@pytest.fixture
def evaluated(monkeypatch):
    """The calls of `load` and `evaluate`."""
    calls = []

    class Run:
        foreign_code = ("costs:good",)
        algorithm = PETS()

        def evaluate(self, **options):
            calls.append(options)
            return Evaluation()

    monkeypatch.setattr(forethought.runs.run, "load", lambda path, **options: calls.append(path) or Run())
    return calls


def test_evaluate_prints_mean_and_spread(evaluated, capsys):
    assert main(["evaluate", "runs/a", "--episodes", "2", "--seed", "7", "--sampled"]) == 0
    path, options = evaluated
    options.pop("on_episode")(1, 2.5)  # no terminal here: nothing is shown
    assert path == "runs/a" and options == {"episodes": 2, "seed": 7, "sampled": True}
    out, err = capsys.readouterr()
    assert "runs code named in runs/a/run.json: costs:good" in err
    for fact in ("2 +- 1.41", "50%", "300 environment steps", "30 s", "1 of 2 episodes (3 steps), by 0.25"):
        assert fact in out


def test_evaluate_for_machines(evaluated, capsys):
    assert main(["evaluate", "runs/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"mean": 2.0, "success": 0.5}
    assert evaluated[1].items() >= {"episodes": 10, "seed": None, "sampled": False}.items()


def test_evaluate_says_where_a_task_has_no_test(evaluated, capsys, monkeypatch):
    monkeypatch.setattr(Evaluation, "success", None)
    assert main(["evaluate", "runs/a"]) == 0
    assert "no success test" in capsys.readouterr().out


def test_report_and_video_name_what_they_wrote(monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(html, "write_report", lambda *a, **k: calls.append((a, k)) or "r.html", raising=False)
    monkeypatch.setattr(
        forethought.report, "record_video", lambda *a, **k: calls.append((a, k)) or "v.mp4", raising=False
    )
    monkeypatch.setattr(html, "open_runs", list)
    assert main(["report", "runs/a", "--out", "r.html", "--episodes", "2", "--no-video"]) == 0
    assert main(["video", "runs/a", "--seed", "3"]) == 0
    calls[0][1].pop("on_stage")("plans")  # no terminal here: nothing is shown
    options = {"out": "r.html", "episodes": 2, "video": False}
    assert calls == [((["runs/a"],), options), (("runs/a",), {"out": None, "seed": 3})]
    out = capsys.readouterr().out
    assert "r.html" in out and "v.mp4" in out
