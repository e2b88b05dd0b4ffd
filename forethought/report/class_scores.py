"""How good predicted class probabilities are: accuracy, negative log-likelihood, calibration.

Symbols: N rows, n classes; P [N, n] probabilities; y [N] labels; the confidence of a row is its largest probability.
    ECE = sum_b (N_b / N) |accuracy_b - confidence_b|      over bins b of equal width of the confidence
Source: Guo et al. (2017), On calibration of modern neural networks, equation 3.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

SMALLEST = 1e-12  # probabilities below count as this in the log-likelihood


@dataclass(frozen=True)
class ClassScores:
    """Scores of predicted probabilities."""

    accuracy: float  # share of rows whose most probable class is the label
    nll: float  # nats per row
    ece: float  # expected calibration error, from 0 to 1

    @staticmethod
    def of(probs: Float[np.ndarray, "N n"], labels: Int[np.ndarray, "N"], *, bins: int = 15) -> "ClassScores":
        """The scores; `bins` of the expected calibration error: 15 in the source.

        Raises:
            ValueError: rows that do not sum to 1.
        """
        if not np.allclose(probs.sum(axis=1), 1, atol=1e-4):
            raise ValueError("ClassScores: the probabilities of a row must sum to 1.")
        right = probs.argmax(axis=1) == labels
        nll = -np.log(np.maximum(probs[np.arange(len(labels)), labels], SMALLEST))
        return ClassScores(float(right.mean()), float(nll.mean()), expected_calibration_error(probs, labels, bins))


def expected_calibration_error(probs: Float[np.ndarray, "N n"], labels: Int[np.ndarray, "N"], bins: int = 15) -> float:
    """The mean distance of accuracy and confidence, over bins of the confidence weighted by their rows."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
