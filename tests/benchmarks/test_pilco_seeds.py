"""PILCO's benchmark reports seeds that no setting was chosen on, and results that belong to its settings."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from forethought.cli.settings_reader import read_settings

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("benchmarks_pilco", BENCHMARKS / "pilco.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


NAMES = ("cartpole", "pendulum", "cart_double_pendulum")


@pytest.mark.parametrize("name", NAMES)
def test_tuning_and_reporting_seeds_are_apart(benchmark, name):
    assert set(benchmark.EXPERIMENTS) == set(benchmark.TUNING_SEEDS) == set(benchmark.REPORTING_SEEDS) == set(NAMES)
    assert benchmark.REPORTING_SEEDS[name] and not set(benchmark.TUNING_SEEDS[name]) & set(
        benchmark.REPORTING_SEEDS[name]
    )


@pytest.mark.parametrize("name", NAMES)
def test_results_are_of_reporting_seeds_and_of_the_settings(benchmark, name):
    path = benchmark.RESULTS / f"pilco_{name}.json"
    if not path.exists():
        pytest.skip("not measured")
    saved = json.loads(path.read_text())
    assert {one["seed"] for one in saved["seeds"]} <= set(benchmark.REPORTING_SEEDS[name])
    assert saved == saved | benchmark.setup(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_settings_exist(benchmark, name):
    read_settings("forethought.algorithms.pilco:PILCO").construct(benchmark.EXPERIMENTS[name].settings)
    known, settings = set(), [("", read_settings("forethought.algorithms.pilco:PILCO"))]
    for prefix, one in settings:
        for field in one.fields:
            if hasattr(field.default, "fields"):
                settings.append((f"{prefix}{field.name}.", field.default))
            else:
                known.add(prefix + field.name)
    assert set(benchmark.EXPERIMENTS[name].settings) <= known


def test_a_seed_is_solved_for_good_only_if_no_later_evaluation_fails(benchmark):
    def seed(*shares):
        return {"trials": [{"experience_s": 2.5 * (i + 1), "solved": share} for i, share in enumerate(shares)]}

    for shares, first, lasting in (
        ((0, 1, 0.8, 1, 1), 5.0, 10.0),
        ((0, 1, 1, 0.8), 5.0, None),
        ((1, 1), 2.5, 2.5),
        ((0, 0.8), None, None),
    ):
        assert (benchmark.first_solved(seed(*shares)), benchmark.lastingly_solved(seed(*shares))) == (first, lasting)


def test_every_evaluation_draws_new_episodes(benchmark, monkeypatch):
    """They would all have the same initial states if they shared a key."""
    import jax.random as jr
    import numpy as np

    from forethought.core import Transition
    from forethought.envs import environment
    from forethought.runs import driver

    seen = []

    class Env:
        task = type("task", (), {"dt": 0.1, "solved": staticmethod(lambda trajectory: True)})

        def run(self, controller, *, key):
            seen.append(tuple(np.asarray(jr.key_data(key)).tolist()))
            flags, zeros = np.zeros(2, bool), np.zeros((2, 1))
            return Transition(zeros, zeros, zeros, np.zeros(2), flags, flags)

    def train(algorithm, env, *, callbacks, **more):
        names = ("experience_s", "return", "expected_cost", "predicted_cost", "model_error", "candidate")
        for _ in range(3):
            callbacks[0](dict.fromkeys(names, 1.0), None)
        return type("run", (), {"controller": None})

    monkeypatch.setattr(driver, "train", train)
    monkeypatch.setattr(environment.Environment, "open", lambda self: Env())
    monkeypatch.setattr("forethought.algorithms.pilco.PILCO.controller", lambda self, state, env: None)
    found = benchmark.measure(benchmark.EXPERIMENTS["pendulum"], 41, 5)
    assert len(seen) == len(set(seen)) == 3 * 5 + 100
    assert found["success"] == 1 and [trial["solved"] for trial in found["trials"]] == [1, 1, 1]
