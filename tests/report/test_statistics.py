"""Statistics over runs equal rliable's; reference values by rliable_reference.py."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, trim_mean

from forethought.report.statistics import bootstrap, estimate, interval, iqm, probability_of_improvement
from tests.report.rliable_reference import scores

RLIABLE_IQM = {"x": (1.01845455, 0.70881818, 1.30745682), "y": (-0.25977778, -1.59056111, 1.06378889)}
RLIABLE_IMPROVEMENT = (0.71428571, 0.5047619, 0.9047619)
SLACK = 0.05  # Monte Carlo error of a limit from 4,000 resamples, as a share of the interval's width


@pytest.mark.parametrize("which", [0, 1], ids=["x", "y"])
def test_interquartile_mean_and_its_interval_equal_those_of_rliable(which):
    value, low, high = RLIABLE_IQM["xy"[which]]
    mine = estimate(iqm, scores()[which], reps=4000)
    assert mine.value == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose([mine.low, mine.high], [low, high], atol=SLACK * (high - low))


def test_probability_of_improvement_and_its_interval_equal_those_of_rliable():
    value, low, high = RLIABLE_IMPROVEMENT
    mine = estimate(probability_of_improvement, *scores(), reps=4000)
    assert mine.value == pytest.approx(value, abs=1e-8)
    np.testing.assert_allclose([mine.low, mine.high], [low, high], atol=SLACK * (high - low))


@pytest.mark.parametrize("runs", range(1, 10))
def test_interquartile_mean_equals_the_trimmed_mean_of_scipy(runs):
    values = np.random.default_rng(runs).normal(size=(runs, 2, 3))
    expected = [trim_mean(values[..., point], 0.25, axis=None) for point in range(3)]
    np.testing.assert_allclose(iqm(values), expected, rtol=1e-12)


def test_probability_of_improvement_with_ties_equals_the_mann_whitney_statistic_of_scipy():
    x, y = np.array([[0.0], [1.0], [1.0], [3.0]]), np.array([[1.0], [2.0], [0.0]])
    expected = mannwhitneyu(x[:, 0], y[:, 0], alternative="greater").statistic / 12
    assert probability_of_improvement(x, y) == pytest.approx(expected)
    assert probability_of_improvement(x, x) == 0.5
    assert probability_of_improvement(x, y) + probability_of_improvement(y, x) == pytest.approx(1)


def test_resampling_stays_within_each_task_and_keeps_a_run_whole():
    values = 1.0 * np.arange(4)[:, None, None] + 10 * np.arange(3)[:, None] + 100 * np.arange(2)  # run + task + point
    samples = bootstrap(lambda one: np.moveaxis(one, 2, 0), values, reps=150, rng=np.random.default_rng(0))
    assert samples.shape == (150, 4, 3, 2)
    assert set(np.unique(samples[:, :, 1, 0])) == {10, 11, 12, 13}
    np.testing.assert_array_equal(samples[..., 1] - samples[..., 0], 100)
    assert (samples[:, :, 0] % 10 != samples[:, :, 1] % 10).any()  # tasks are resampled independently


def test_interval_is_the_central_95_percent():
    low, high = interval(np.linspace(0, 1, 1001))
    assert (low, high) == (pytest.approx(0.025), pytest.approx(0.975))


def test_a_single_run_has_no_interval_and_equal_runs_one_of_no_width():
    single = estimate(iqm, np.array([[2.0]]))
    assert single.value == 2.0 and np.isnan([single.low, single.high]).all()
    equal = estimate(iqm, np.full((5, 1), 2.0))
    assert (equal.low, equal.high) == (2.0, 2.0)
