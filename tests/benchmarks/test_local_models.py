"""The benchmark of local models: settings that exist, starts near and between the conditions."""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pytest

import forethought as ft
from forethought.algorithms.local_priors import NoPrior
from forethought.algorithms.local_rollouts import Conditions

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("local_models_benchmark", BENCHMARKS / "local_models.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_settings_of_every_task_exist(benchmark):
    for task in benchmark.TASKS.values():
        assert task.rounds * benchmark.construct("local-models", task.flags.split()).conditions.samples >= task.claim
        benchmark.construct("gps", [word.replace("--", "--local.") for word in task.flags.split()])
    assert not benchmark.construct("local-models", benchmark.REGIONS["no trust region"].split()).region.enabled
    assert isinstance(benchmark.construct("local-models", benchmark.PRIORS["none"].split()).prior, NoPrior)


def test_every_part_names_its_rows_once(benchmark):
    flags = argparse.Namespace(
        seeds=[40, 41], tasks=list(benchmark.TASKS), no_trust_region=False, quick=False, flags=""
    )
    for part in benchmark.PARTS.values():
        names = [tuple(about.items()) for about, _ in part(flags)]
        assert len(names) == len(set(names)) > 1


def test_starts_near_and_between_the_initial_conditions(benchmark):
    env = ft.open_env("forethought/ArmTwoLink-v0")
    states = np.asarray(env.task.initial_states)
    near = benchmark.near(env, Conditions(count=4), 2, 40, 0)["options"]["x0"]
    assert 0 < np.abs(near[:2] - states[2, :2]).max() < 0.06
    between = benchmark.elsewhere(env, 40, 0)["options"]["x0"]
    assert (between[:2] > states[:, :2].min(0)).all() and (between[:2] < states[:, :2].max(0)).all()
    assert np.abs(between[None] - states).max(1).min() > 0.01 and (between[2:4] == 0).all()
