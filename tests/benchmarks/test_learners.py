"""The benchmarks of the learners: seeds kept apart, commands that exist, operations counted right."""

import importlib.util
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
    learners = load("learners")
    assert len(learners.TUNING_SEEDS) >= 10 and len(learners.REPORTING_SEEDS) >= 5
    assert not set(learners.TUNING_SEEDS) & set(learners.REPORTING_SEEDS)
    assert [learners.seed_kind(seed) for seed in (100, 40)] == ["tuning", "reporting"]


def test_every_experiment_is_a_command(load):
    learners = load("learners")
    for experiment in learners.EXPERIMENTS.values():
        words = learners.command(experiment, 40)[1:]
        parser = Parser("forethought train", "")
        configure(parser, words)
        assert parser.parse(words).env_steps == experiment.steps


def test_operations_of_an_update_of_sac(load):
    """In units of one critic forwards on a batch, about 16: 3 for targets, 6 for the critics, 7 for the policy."""
    speed = load("speed_learners")
    unit = 2 * 256 * (23 * 256 + 256 * 256 + 256)
    assert speed.operations()["sac updates"] / unit == pytest.approx(16, abs=0.5)
