"""Learning curves, and what the record says."""

import copy

import numpy as np
import pytest

from forethought.report.curves import Baseline, Curve
from forethought.report.record import curve_of, duration, flat_settings, labels_of, number
from tests.report.fakes import fake_run


def curve(steps, returns, solved=None):
    none = np.full(len(steps), np.nan)
    solved = np.zeros(len(steps), bool) if solved is None else np.array(solved)
    return Curve("a", 0.1, np.array(steps, float), np.array(returns, float), none, none, solved)


def test_first_solved_round():
    assert curve([1, 2, 3], [0, 0, 0], [False, True, False]).first_solved == 1
    assert curve([1], [0]).first_solved is None


def test_baseline():
    assert (Baseline((1.0, 3.0)).mean, Baseline((1.0, 3.0)).std) == (2.0, pytest.approx(np.sqrt(2)))
    assert Baseline((1.0,)).std == 0


def test_labels_name_the_settings_that_differ(tmp_path):
    first, other = (fake_run(tmp_path).info["algorithm"] for _ in range(2))
    other = copy.deepcopy(other)
    other["settings"]["planner"]["settings"]["horizon"] = 12
    assert labels_of([first, other]) == ["PETS planner.horizon=6", "PETS planner.horizon=12"]
    assert labels_of([first, {"class": "a.b.PILCO", "settings": {}}]) == ["PETS", "PILCO"]


def test_the_step_length_of_a_curve_follows_from_the_metrics(tmp_path):
    curve = curve_of(fake_run(tmp_path), "one")
    assert curve.dt == pytest.approx(0.1) and np.isnan(curve.model_error[0])


def test_settings_are_flattened_in_order(tmp_path):
    rows = list(flat_settings(fake_run(tmp_path).info["algorithm"]))
    assert rows == [("planner", "CEM"), ("planner.horizon", "6"), ("planner.decay", "inf"), ("hidden", "64, 64")]


def test_settings_in_a_list_have_their_place_in_their_name():
    learner = {"class": "forethought.PPO", "settings": {"hidden": [64, 64]}}
    rows = list(flat_settings({"class": "forethought.Student", "settings": {"experts": [learner, learner]}}))
    assert rows[1:] == [("experts[0].hidden", "64, 64"), ("experts[1]", "PPO"), ("experts[1].hidden", "64, 64")]


@pytest.mark.parametrize(("seconds", "words"), [(1.234, "1.23 s"), (150.0, "2.5 min"), (7200.0, "2 h")])
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(("value", "words"), [(12345.6, "12,346"), (0.12345, "0.1235"), (None, "-"), (np.nan, "-")])
def test_numbers(value, words):
    assert number(value) == words
