"""Environment steps until a run is good enough."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forethought.report.gathering import Record
from forethought.report.statistics import LEVEL, REPS, bootstrap, iqm

SHARE = 0.9  # of the way from the first rounds to the best algorithm, where neither user nor task has a threshold


@dataclass(frozen=True)
class Threshold:
    """When a round is good enough: a return, or the task's own test of success where `value` is None."""

    value: float | None
    origin: str  # where it comes from


@dataclass(frozen=True)
class Reached:
    """Environment steps until the threshold over runs; infinite where more runs than that never reach it."""

    count: int  # runs that reach it
    runs: int
    median: float
    low: float  # bootstrap interval of the median
    high: float
    steps: tuple[float, ...]  # of each run


def threshold_of(records: Sequence[Record], given: float | None) -> Threshold:
    """The threshold of one environment: what was given, what the task says, or a share of the best.

    The task's own: its test of success where the runs recorded one, else the reward threshold that Gymnasium registers
    for its id, unless a cost function replaced the reward.
    """
    if given is not None:
        return Threshold(float(given), "given")
    if all(record.has_test for record in records):
        return Threshold(None, "the task's test of success")
    registered = _registered(records[0].env)
    if registered is not None:
        return Threshold(registered, "registered by Gymnasium")
    labels = dict.fromkeys(record.algorithm for record in records)
    best = max(float(iqm(np.array([[r.score] for r in records if r.algorithm == label]))) for label in labels)
    first = float(np.mean([record.returns[0] for record in records]))
    return Threshold(
        first + SHARE * (best - first), f"{SHARE:.0%} of the way from the first rounds to the best algorithm"
    )


def reached(records: Sequence[Record], threshold: Threshold) -> Reached:
    """Steps until the first round that passes, by run and their median."""
    steps = np.array([[_first(record, threshold)] for record in records])
    low = high = float("nan")
    if len(steps) > 1:
        medians = bootstrap(_median, steps, reps=REPS, rng=np.random.default_rng(0))
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(medians, [tail, 1 - tail], method="inverted_cdf")  # no sums of infinities
    count = int(np.isfinite(steps).sum())
    return Reached(count, len(steps), float(np.median(steps)), float(low), float(high), tuple(steps[:, 0]))


def _median(steps: np.ndarray) -> np.ndarray:
    """Over runs and tasks, as `bootstrap` needs it."""
    return np.asarray(np.median(steps, axis=(0, 1)))


def _first(record: Record, threshold: Threshold) -> float:
    passes = record.solved if threshold.value is None else record.returns >= threshold.value
    return float(record.env_steps[np.argmax(passes)]) if passes.any() else float("inf")


def _registered(env: dict[str, Any]) -> float | None:
    """Gymnasium's threshold of an id that needs no import of foreign modules."""
    import gymnasium

    spec = env.get("spec")
    if not spec or ":" in spec or env.get("cost"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return gymnasium.spec(spec).reward_threshold
        except gymnasium.error.Error:
            return None
