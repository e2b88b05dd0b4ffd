"""Scores of class probabilities against scikit-learn, by hand, and where they are known."""

import numpy as np
import pytest

from forethought.report.class_scores import ClassScores, expected_calibration_error

RNG = np.random.default_rng(0)


def random_probs(rows, n=3):
    return RNG.dirichlet(np.ones(n), rows)


def test_likelihood_and_accuracy_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    probs, labels = random_probs(50), RNG.integers(0, 3, 50)
    found = ClassScores.of(probs, labels)
    assert found.nll == pytest.approx(metrics.log_loss(labels, probs, labels=[0, 1, 2]))
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, probs.argmax(1)))


def test_calibration_error_by_hand():
    probs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    labels = np.array([0, 1, 0, 0])
    # two bins: all confidences are above one half, three of four right are two
    assert expected_calibration_error(probs, labels, bins=2) == pytest.approx(abs(2 / 4 - (0.9 + 0.9 + 0.6 + 0.7) / 4))
    # ten bins: 0.9 twice with one right, 0.6 right, 0.7 wrong
    assert expected_calibration_error(probs, labels, bins=10) == pytest.approx((2 * 0.4 + 0.4 + 0.7) / 4)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_certain_errors_are_not():
    probs = random_probs(20_000)
    labels = (probs.cumsum(axis=1) < RNG.random((20_000, 1))).sum(axis=1)
    assert expected_calibration_error(probs, labels) < 0.02
    certain = np.tile([1.0, 0.0], (4, 1))
    assert expected_calibration_error(certain, np.ones(4, int)) == 1.0
    assert np.isfinite(ClassScores.of(certain, np.ones(4, int)).nll)


def test_rows_that_are_no_distributions_are_refused():
    with pytest.raises(ValueError, match="must sum to 1"):
        ClassScores.of(np.ones((2, 3)), np.zeros(2, int))
