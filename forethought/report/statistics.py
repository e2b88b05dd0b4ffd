"""Statistics over few runs: interquartile mean, probability of improvement, and bootstrap intervals.

N runs of each of M tasks; scores [N, M] may have further axes, such as points of a learning curve.  Resampling is
stratified: runs are drawn with replacement within each task.  A run is drawn as a whole, with its further axes.
Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice", and its package
rliable, whose estimates these equal.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LEVEL = 0.95  # coverage of the intervals
REPS = 2000  # resamples for each interval; rliable: 50,000
CHUNK = 100  # resamples held in memory at once


@dataclass(frozen=True)
class Estimate:
    """A point estimate and its bootstrap interval; NaN limits where a single run allows none."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def iqm(scores: Float[np.ndarray, "N M *more"]) -> Float[np.ndarray, "*more"]:
    """Interquartile mean over runs and tasks together: the mean without the lowest and the highest quarter.

    With fewer than four scores this is the mean, since a quarter is rounded down to a whole number of scores.
    """
    pooled = np.sort(np.concatenate(list(scores)), axis=0)
    cut = len(pooled) // 4
    return np.asarray(pooled[cut : len(pooled) - cut].mean(axis=0))


def probability_of_improvement(
    x: Float[np.ndarray, "N M *more"], y: Float[np.ndarray, "K M *more"]
) -> Float[np.ndarray, "*more"]:
    """Probability that a run of x scores higher than one of y on the same task, averaged over tasks; ties count half.

    It is the Mann-Whitney statistic of each task over N K.
    """
    higher = (x[:, None] > y[None]) + 0.5 * (x[:, None] == y[None])
    return np.asarray(higher.mean(axis=(0, 1, 2)))


def bootstrap(
    statistic: Callable[..., np.ndarray],
    *scores: Float[np.ndarray, "_ M *more"],
    reps: int = REPS,
    rng: np.random.Generator,
) -> np.ndarray:
    """The statistic of `reps` stratified resamples; several arrays are resampled independently.

    Args:
        statistic: of scores [N, M, ...] over the first two axes; resamples are its third axis.
        *scores: one or several arrays.
        reps: number of resamples.
        rng: random numbers.
    """
    counts = [min(CHUNK, reps - start) for start in range(0, reps, CHUNK)]
    return np.concatenate([statistic(*(_resamples(one, count, rng) for one in scores)) for count in counts])


def interval(estimates: Float[np.ndarray, "B *more"]) -> Float[np.ndarray, "2 *more"]:
    """Percentile interval of the resampled estimates: low, high."""
    tail = 50 * (1 - LEVEL)
    return np.percentile(estimates, [tail, 100 - tail], axis=0)


def estimate(
    statistic: Callable[..., np.ndarray], *scores: Float[np.ndarray, "_ M"], reps: int = REPS, seed: int = 0
) -> Estimate:
    """A scalar statistic with its interval; without one where no array has more than one run."""
    value = float(statistic(*scores))
    if max(len(one) for one in scores) < 2:
        return Estimate(value)
    low, high = interval(bootstrap(statistic, *scores, reps=reps, rng=np.random.default_rng(seed)))
    return Estimate(value, float(low), float(high))


def _resamples(scores: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Resampled runs, [N, M, count, ...]."""
    runs, tasks = scores.shape[:2]
    return scores[rng.integers(runs, size=(runs, tasks, count)), np.arange(tasks)[:, None]]
