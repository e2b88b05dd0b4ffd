"""Learning curves, groups of seeds, and what the record says."""

import copy

import numpy as np
import pytest

from forethought.report.curves import Baseline, Curve, Group
from forethought.report.record import duration, flat_settings, groups_of, number
from tests.report.fakes import fake_run


def curve(steps, returns, solved=None):
    none = np.full(len(steps), np.nan)
    solved = np.zeros(len(steps), bool) if solved is None else np.array(solved)
    return Curve("a", 0.1, np.array(steps, float), np.array(returns, float), none, none, solved)


def test_mean_and_std_over_seeds_are_interpolated_where_all_have_data():
    group = Group("g", (curve([10, 30], [0, 2]), curve([20, 40], [3, 5])))
    steps, mean, std = group.mean_and_std(points=3)
    np.testing.assert_allclose(steps, [20, 25, 30])
    np.testing.assert_allclose(mean, [2.0, 2.5, 3.0])
    np.testing.assert_allclose(std, np.std([1, 3], ddof=1))


def test_rounds_without_a_return_are_skipped_and_runs_that_do_not_overlap_have_no_mean():
    group = Group("g", (curve([10, 20, 30], [0, np.nan, 2]),))
    _, mean, std = group.mean_and_std(points=3)
    np.testing.assert_allclose(mean, [0, 1, 2])
    np.testing.assert_allclose(std, 0)
    assert len(Group("g", (curve([1, 2], [0, 0]), curve([3, 4], [0, 0]))).mean_and_std()[0]) == 0
    assert len(Group("g", (curve([1], [np.nan]),)).mean_and_std()[0]) == 0


def test_first_solved_round():
    assert curve([1, 2, 3], [0, 0, 0], [False, True, False]).first_solved == 1
    assert curve([1], [0]).first_solved is None


def test_baseline():
    assert (Baseline((1.0, 3.0)).mean, Baseline((1.0, 3.0)).std) == (2.0, pytest.approx(np.sqrt(2)))
    assert Baseline((1.0,)).std == 0


def test_seeds_are_grouped_and_labels_name_what_differs(tmp_path):
    first, second, other = (fake_run(tmp_path / str(i), seed=i) for i in range(3))
    other.info = copy.deepcopy(other.info)
    other.info["algorithm"]["settings"]["planner"]["settings"]["horizon"] = 12
    groups = groups_of([first, other, second])
    assert [group.label for group in groups] == ["PETS planner.horizon=6", "PETS planner.horizon=12"]
    assert [len(group.curves) for group in groups] == [2, 1]
    assert groups[0].curves[0].dt == pytest.approx(0.1)
    assert np.isnan(groups[0].curves[0].model_error[0])


def test_settings_are_flattened_in_order(tmp_path):
    rows = list(flat_settings(fake_run(tmp_path).info["algorithm"]))
    assert rows == [("planner", "CEM"), ("planner.horizon", "6"), ("planner.decay", "inf"), ("hidden", "64, 64")]


@pytest.mark.parametrize(("seconds", "words"), [(1.234, "1.23 s"), (150.0, "2.5 min"), (7200.0, "2 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("value", "words"), [(12345.6, "12,346"), (0.12345, "0.1235"), (None, "-"), (np.nan, "-")])
def test_numbers(value, words):
    assert number(value) == words
