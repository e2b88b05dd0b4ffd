"""The benchmarks of the learners: seeds kept apart, commands that exist, operations counted right."""

import argparse
import importlib.util
import json
from pathlib import Path

import pytest

from forethought.cli.flags import Parser
from forethought.cli.train import configure

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name):
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", BENCHMARKS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(__import__("sys").modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_tuning_and_reporting_seeds_are_disjoint(load):
    study = load("learners").STUDY
    assert len(study.tuning_seeds) >= 10 and len(study.reporting_seeds) >= 5
    assert not set(study.tuning_seeds) & set(study.reporting_seeds)
    assert [study.seed_kind(seed) for seed in (100, 40)] == ["tuning", "reporting"]


@pytest.mark.parametrize("name", ["learners", "learning", "imagined"])
def test_every_experiment_is_a_command(load, name, monkeypatch):
    monkeypatch.chdir(BENCHMARKS.parent)  # of costs named in the flags
    command = load("trainings").command
    for experiment in load(name).EXPERIMENTS.values():
        words = command(experiment, 40)[1:]
        parser = Parser("forethought train", "")
        configure(parser, words)
        assert parser.parse(words).env_steps == experiment.steps


def test_teachers_are_the_runs_of_the_ladder(load, monkeypatch, tmp_path):
    """By the same command, in the same place, so that either benchmark may train them."""
    teachers, ladder = load("teachers"), load("ladder")
    called = []
    monkeypatch.setattr(teachers, "forethought", lambda *words: called.append(words))
    monkeypatch.setattr(teachers, "ROOT", tmp_path)
    out = teachers.pets_run("cart-pole", 40)
    assert out == tmp_path / "runs" / "ladder" / "cart-pole-pets-seed40"
    flags = argparse.Namespace(runs=tmp_path / "runs" / "ladder")
    assert out == ladder.run_path("cart-pole", "pets", 40, flags)
    words = list(called[0])[1:]
    saved = json.loads((BENCHMARKS / "results" / "ladder_learn.json").read_text())["rows"]
    row = next(row for row in saved if (row["task"], row["rung"], row["seed"]) == ("cart-pole", "pets", 40))
    theirs = row["command"].split()[2:]
    assert sorted(theirs) == sorted(word for word in words if word not in ("--out", str(out), "--resume"))


def test_each_seed_is_trained_evaluated_and_saved(load, monkeypatch, tmp_path, capsys):
    trainings, ran = load("trainings"), []

    def trained(*words, quiet=False):
        ran.append(words)
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        (out / "metrics.jsonl").write_text('{"env_steps": 7}\n')

    done = {"episodes": 2, "mean": 3.0, "std": 1.0, "success": None, "returns": [2.0, 4.0]}
    monkeypatch.setattr(trainings, "forethought", trained)
    monkeypatch.setattr(trainings, "evaluated", lambda out, episodes, paid_by: done)
    monkeypatch.setattr(trainings, "RESULTS", tmp_path / "results")
    study = trainings.Study(
        "some",
        {"one": trainings.Experiment("ppo", "CartPole-v1", 7)},
        "about",
        lambda trained: {
            "evaluation": trainings.kept(trained.evaluation),
            "again": bool(trained.before),
            "steps": trained.rounds[-1]["env_steps"],
        },
        trainings.evaluation_text,
    )
    monkeypatch.setattr("sys.argv", ["some.py", "one", "--seeds", "41", "40", "100", "40", "--runs", str(tmp_path)])
    trainings.main(study)
    saved = json.loads((tmp_path / "results" / "some_one.json").read_text())
    assert [(one["seed"], one["seed_kind"], one["again"], one["steps"]) for one in saved["seeds"]] == [
        (40, "reporting", True, 7),
        (41, "reporting", False, 7),
        (100, "tuning", False, 7),
    ]
    assert ran[0][:7] == ("train", "ppo", "CartPole-v1", "--env-steps", "7", "--seed", "41")
    assert ran[0][7:] == ("--out", str(tmp_path / "one-seed41"), "--resume")
    text = capsys.readouterr().out
    assert "one, tuning seed 100: evaluated 3.0 +- 1.0 (2 episodes)" in text
    assert "one, 2 reporting seeds: evaluated 3.0 +- 0.0 over seeds" in text


def test_operations_of_an_update_of_sac(load):
    """In units of one critic forwards on a batch, about 16: 3 for targets, 6 for the critics, 7 for the policy."""
    speed = load("speed_learners")
    unit = 2 * 256 * (23 * 256 + 256 * 256 + 256)
    assert speed.operations()["sac updates"] / unit == pytest.approx(16, abs=0.5)
