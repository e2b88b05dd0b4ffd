"""Each hint appears for its own symptom, and none for a run that does well."""

import dataclasses

import numpy as np
import pytest

from forethought.report.curves import Baseline, Curve
from forethought.report.diagnostics import Calibration, ModelError
from forethought.report.hints import Evidence, hints
from forethought.report.plan_prediction import PlanPrediction


def curve(returns, errors=None, solved=False):
    count = len(returns)
    errors = np.full(count, np.nan) if errors is None else np.array(errors, float)
    steps = np.arange(1.0, count + 1)
    return Curve("a", 0.1, steps, np.array(returns, float), errors, steps, np.full(count, solved))


def model_error(rmse, reward_error=0.1):
    rmse = np.array(rmse, float)
    ones = np.ones(len(rmse))
    per_coordinate = np.stack([rmse, reward_error * ones], axis=1)
    return ModelError(rmse, rmse, rmse, rmse, rmse, rmse, 0.5 * ones, per_coordinate, np.ones(2), ones.astype(int))


def calibration(factor):
    """Of a model whose quantiles lie too far inside (factor > 1) or outside."""
    u = (np.arange(2000) + 0.5) / 2000
    return Calibration(np.clip(0.5 + factor * (u - 0.5), 0, 1).reshape(-1, 1, 1))


def plan(low):
    return PlanPrediction(0, np.zeros((2, 1)), np.zeros((3, 3, 1)), np.array([[0, low, low]] * 3, float))


GOOD = Evidence(
    curve(np.arange(12), np.linspace(1, 0.1, 12)),
    mean_return=10.0,
    baseline=Baseline((0.0, 1.0)),
    saturation=0.2,
    error=model_error([0.1, 0.2]),
    calibration=calibration(1.0),
    plans=(plan(-3.0),),
    real_reward=np.array([-1.0, -1.0]),
    reward_is_learned=True,
)


def test_no_hints_for_a_run_that_does_well():
    assert hints(GOOD) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean_return": 1.0}, "random actions"),
        ({"curve": curve([0, 3, 6, 9, 9, 9, 9, 9, 9])}, "stopped rising"),
        ({"curve": curve(np.arange(12), np.linspace(0.1, 3, 12))}, "model error grew"),
        ({"error": model_error([0.1, 0.6])}, "From 2 steps ahead"),
        ({"error": model_error([np.inf, np.inf])}, "From 1 step ahead"),
        ({"calibration": calibration(2.0)}, "overconfident"),
        ({"calibration": calibration(0.5)}, "underconfident"),
        ({"error": model_error([0.1, 0.2], reward_error=0.8)}, "learned reward is 80%"),
        ({"plans": (plan(-1.0),)}, "1 of 1 plans predicted more"),
        ({"saturation": 0.75}, "75% of the actions"),
    ],
)
def test_each_symptom_gives_one_hint(change, words):
    (hint,) = hints(dataclasses.replace(GOOD, **change))
    assert words in hint


def test_a_solved_run_is_not_called_stalled():
    assert hints(dataclasses.replace(GOOD, curve=curve(np.full(12, 9.0), solved=True))) == []


def test_a_run_without_a_model_gets_hints_from_its_returns():
    assert hints(Evidence(curve([0, 3, 6, 9, 9, 9, 9, 9, 9]))) == [
        hints(Evidence(curve([0, 3, 6, 9, 9, 9, 9, 9, 9])))[0]
    ]
    assert hints(Evidence(curve([1.0]))) == []
