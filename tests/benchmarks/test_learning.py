"""Seeds that settings were tuned on are kept apart from those that results are reported for."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("learning_*.json"))


@pytest.fixture(scope="module")
def learning():
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("learning", BENCHMARKS / "learning.py")
    module = sys.modules["learning"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(BENCHMARKS))
    del sys.modules["learning"]


def test_no_seed_is_for_both(learning):
    assert learning.STUDY.tuning_seeds and len(learning.STUDY.reporting_seeds) >= 5
    assert not set(learning.STUDY.tuning_seeds) & set(learning.STUDY.reporting_seeds)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_results_say_which_seeds_settings_were_tuned_on(learning, path):
    seeds = json.loads(path.read_text())["seeds"]
    assert [one["seed_kind"] for one in seeds] == [learning.STUDY.seed_kind(one["seed"]) for one in seeds]
    known = {*learning.STUDY.tuning_seeds, *learning.STUDY.reporting_seeds}
    assert {one["seed"] for one in seeds} <= known


def test_experiments_exist_for_all_results(learning):
    assert {path.stem.removeprefix("learning_") for path in RESULTS} <= set(learning.EXPERIMENTS)
