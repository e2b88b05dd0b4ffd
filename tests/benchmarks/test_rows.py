"""Rows of long benchmarks: saved as they come, measured once, seeds kept apart."""

import importlib.util
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def rows(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("rows", BENCHMARKS / "rows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return module


def cases(counts, *seeds):
    def measured(seed):
        counts.append(seed)
        return {"value": 2 * seed}

    return [({"task": "a", "seed": seed}, lambda seed=seed: measured(seed)) for seed in seeds]


def test_tuning_and_reporting_seeds_are_disjoint(rows):
    assert not set(rows.TUNING_SEEDS) & set(rows.REPORTING_SEEDS)
    assert [rows.seed_kind(seed) for seed in (100, 40, 7)] == ["tuning", "reporting", "other"]


def test_a_row_that_is_there_is_not_measured_again(rows):
    counts = []
    rows.fill("part", "file", cases(counts, 40, 100))
    rows.fill("part", "file", cases(counts, 40, 41, 100))
    assert counts == [40, 100, 41]
    saved = json.loads((rows.RESULTS / "file.json").read_text())["rows"]
    assert [row["value"] for row in saved] == [80, 200, 82]
    assert [row["seed"] for row in rows.reporting("file")] == [40, 41]


def test_rows_of_another_process_are_kept(rows):
    counts = []
    inner = lambda: rows.fill("part", "file", cases(counts, 41)) or {"value": 0}  # noqa: E731
    rows.fill("part", "file", [({"task": "a", "seed": 40}, inner)])
    assert sorted(row["seed"] for row in rows.saved(rows.RESULTS / "file.json")) == [40, 41]


def test_a_quick_look_saves_nothing(rows):
    rows.fill("part", "file", cases([], 40), quick=True)
    assert not rows.RESULTS.exists()
