"""Lengths of PILCO's trials, predictions and counted steps, round by round."""

import numpy as np
import pytest

from forethought.algorithms.pilco_schedule import ends_at_low_cost, horizon_grows, schedule
from forethought.algorithms.pilco_settings import HorizonSettings, ObjectiveSettings, TrialSettings


def lengths(trials=None, horizon=None, *, skip_first=0, task_horizon=40, searches=9, growths=0):
    areas = trials or TrialSettings(), ObjectiveSettings(skip_first=skip_first), horizon or HorizonSettings()
    return schedule(*areas, task_horizon=task_horizon, searches=searches, growths=growths)


def test_by_default_trials_take_five_eighths_of_the_horizon_and_predictions_all_of_it():
    """25 of the cart-pole's 40 steps."""
    assert lengths() == (25, 40, range(41))
    assert lengths(TrialSettings(steps=30)).trial == 30
    assert lengths(TrialSettings(steps=70)).trial == 40
    assert lengths(task_horizon=1) == (1, 1, range(2))


def test_the_counted_steps_grow_during_warmup():
    warmup = HorizonSettings(warmup_fraction=0.5, warmup_rounds=2)
    counted = [lengths(horizon=warmup, skip_first=3, searches=i).counted for i in range(5)]
    assert counted == [range(3, stop + 1) for stop in (20, 30, 40, 40, 40)]
    assert lengths(horizon=HorizonSettings(warmup_rounds=0), searches=1).counted == range(41)


def test_trials_predictions_and_skipped_steps_grow_together_up_to_the_tasks_horizon():
    growing = TrialSettings(steps=20), HorizonSettings(initial=40, growth=2.0)
    found = [lengths(*growing, skip_first=5, task_horizon=100, growths=i) for i in range(3)]
    assert found == [(20, 40, range(5, 41)), (40, 80, range(10, 81)), (80, 100, range(20, 101))]


def test_the_mask_is_true_for_the_counted_states():
    mask = lengths(skip_first=2, task_horizon=5, searches=0).mask  # three of five steps count at first
    np.testing.assert_array_equal(mask, [False, False, True, True, False, False])


LOW_AT_END = np.r_[np.ones(30), np.full(71, 0.2)]


@pytest.mark.parametrize(
    ("cost", "low"),
    [
        (np.linspace(0.999, 0.95, 101), False),  # a saturating cost far from its goal
        (np.linspace(1, -3, 101), True),  # rewards
        (np.full(101, -1.0), True),
        (LOW_AT_END, True),
        (np.r_[np.ones(30), np.full(71, 0.3)], False),
        (np.where(np.arange(41) == 40, 0.0, 1.0), False),  # passes the goal at the last step
    ],
)
def test_the_end_of_a_prediction_must_cost_little_compared_with_its_highest_cost(cost, low):
    assert ends_at_low_cost(cost) == low


def test_the_horizon_grows_only_if_it_may_and_only_by_the_steps_predicted():
    growing = HorizonSettings(initial=40)
    short, whole = lengths(horizon=growing, task_horizon=100), lengths(task_horizon=100)
    assert horizon_grows(growing, short, LOW_AT_END)
    assert not horizon_grows(growing, whole, LOW_AT_END)
    assert not horizon_grows(HorizonSettings(), short, LOW_AT_END)
    assert not horizon_grows(growing, short, np.r_[np.ones(41), np.zeros(60)])  # low only after the predicted steps
