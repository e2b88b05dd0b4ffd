"""Settings are chosen on other seeds than those that are reported."""

import importlib.util
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_tuning_and_reporting_seeds_of_the_planners_are_disjoint(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("planners_benchmark", BENCHMARKS / "planners.py")
    planners = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(planners)
    assert len(planners.REPORTING_SEEDS) >= 10 and len(planners.TUNING_SEEDS) >= 10
    assert not set(planners.TUNING_SEEDS) & set(planners.REPORTING_SEEDS)
