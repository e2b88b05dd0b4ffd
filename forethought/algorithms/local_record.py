"""What a round of local models leaves in the record of a run: metrics, notes, times; and the failures of fits."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from forethought.algorithms.local_improvement import Improvement
from forethought.core import NumericalFailure, Result, Transition
from forethought.core.data import AnyArray

EACH = ("cost", "kl", "eta", "step_multiplier")  # metrics that are also recorded for each condition


class Clock:
    """Wall clock of the parts of a round."""

    def __init__(self) -> None:
        """Starts the first part."""
        self.spent: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, name: str) -> None:
        """The end of a part, and the beginning of the next."""
        now = time.perf_counter()
        self.spent[name], self._last = now - self._last, now


def metrics_of(step: Improvement, episodes: Sequence[Transition]) -> dict[str, float | None]:
    """The numbers of a round: means over the conditions, and some for each condition (`kl_2`); None for unknown ones.

    Args:
        step: stacked [C].
        episodes: condition by condition.
    """
    conditions = step.kl.shape[0]
    costs = [-float(np.sum(episode.reward, dtype=np.float64)) for episode in episodes]
    numbers = {
        "cost": np.mean(np.reshape(costs, (conditions, -1)), axis=1),  # of the rollouts, with their noise
        "expected_cost": step.expected,  # of the same controllers by the fitted models, with the final cost
        "kl": step.kl,
        "epsilon": step.epsilon,
        "eta": step.progress.eta,
        "predicted_improvement": step.progress.predicted,
        "actual_improvement": step.actual,
        "step_multiplier": step.progress.multiplier,
    }
    metrics = {name: _number(np.mean(np.asarray(values))) for name, values in numbers.items()}
    if conditions > 1:
        metrics |= {f"{name}_{c + 1}": _number(numbers[name][c]) for name in EACH for c in range(conditions)}
    return metrics


def notes(step: Improvement) -> tuple[str, ...]:
    """Which conditions took their last step back or kept their controller, and why."""
    failed = [(c, result) for c, result in enumerate(_results(step.result)) if not result.usable]
    undone = [c for c, one in enumerate(np.asarray(step.undone)) if one]
    return tuple(
        f"Initial condition {c + 1}: the last step made the rollouts worse and was taken back." for c in undone
    ) + tuple(
        f"Initial condition {c + 1}: no better controller was found, and the last one is kept: {result.message}."
        for c, result in failed
    )


def require_usable(results: AnyArray) -> None:
    """Raise `NumericalFailure` where the dynamics of a condition could not be fitted."""
    for c, result in enumerate(_results(results)):
        if not result.usable:
            raise NumericalFailure(
                f"no dynamics could be fitted to the rollouts of initial condition {c + 1}: "
                f"{result.message}. More exploration (--noise, --region.least-noise), more rollouts "
                "(--conditions.samples) or a prior (--prior gmm) may help."
            )


def _results(results: AnyArray) -> list[Result]:
    return [Result(int(result)) for result in np.asarray(results)]


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
