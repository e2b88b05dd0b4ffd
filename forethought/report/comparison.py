"""Several runs compared: grouped by algorithm and environment over seeds, from their records alone.

A `Cell` holds the runs of one algorithm on one environment.  A run's score is its mean return over its last rounds;
its curve the mean return of each round against real environment steps.  Statistics over runs are those of
`statistics.py`; over several environments they are of normalized scores, from 0 for the lowest score of all compared
runs on an environment to 1 for the highest.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from forethought.core import UsageError
from forethought.report.gathering import Record, gather
from forethought.report.statistics import REPS, Estimate, bootstrap, estimate, interval, iqm, probability_of_improvement
from forethought.report.threshold import Reached, Threshold, reached, threshold_of

POINTS = 100  # of a curve over seeds


@dataclass(frozen=True)
class Band:
    """Interquartile mean over runs against environment steps, with its interval (NaN for a single run)."""

    env_steps: Float[np.ndarray, "G"]
    value: Float[np.ndarray, "G"]
    low: Float[np.ndarray, "G"]
    high: Float[np.ndarray, "G"]


@dataclass(frozen=True)
class Improvement:
    """Probability that a run of `better` scores higher than one of `other`; None for all environments together."""

    better: str
    other: str
    environment: str | None
    probability: Estimate


@dataclass(frozen=True)
class Cell:
    """The runs of one algorithm on one environment that count, by seed."""

    algorithm: str
    environment: str
    records: tuple[Record, ...]
    threshold: Threshold

    @property
    def scores(self) -> Float[np.ndarray, "N 1"]:
        """Score of each run."""
        return np.array([[record.score] for record in self.records])

    @cached_property
    def score(self) -> Estimate:
        """Interquartile mean of the scores."""
        return estimate(iqm, self.scores)

    @cached_property
    def band(self) -> Band:
        """Interquartile mean of the return where all runs have data."""
        return _band([[record] for record in self.records], lambda returns: returns)

    @cached_property
    def reached(self) -> Reached:
        """Environment steps until the threshold."""
        return reached(self.records, self.threshold)


@dataclass(frozen=True)
class Comparison:
    """What is known of several runs together."""

    algorithms: tuple[str, ...]
    environments: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]  # by algorithm and environment
    records: tuple[Record, ...]  # all runs, with those that do not count
    notes: tuple[str, ...]  # what a reader must know of the runs

    def seeds(self, algorithm: str) -> tuple[int, ...]:
        """Seeds of an algorithm that every environment has; only these count in statistics over environments."""
        sets = [{record.seed for record in self.cells[algorithm, name].records} for name in self.environments]
        return tuple(sorted(set.intersection(*sets)))

    def scores(self, algorithm: str) -> Float[np.ndarray, "N M"]:
        """Scores of the seeds that all environments have, runs by environments."""
        scores = [record.score for row in self._rows(algorithm) for record in row]
        return np.array(scores).reshape(-1, len(self.environments))

    def normalized(self, algorithm: str) -> Float[np.ndarray, "N M"]:
        """The same, from 0 for the lowest score of all compared runs on an environment to 1 for the highest."""
        low, span = self._scale
        return (self.scores(algorithm) - low) / span

    @cached_property
    def improvements(self) -> tuple[Improvement, ...]:
        """Every pair of algorithms on every environment and, where there are several, on all together."""
        found = []
        for x, y in combinations(self.algorithms, 2):
            for name in self.environments:
                scores = self.cells[x, name].scores, self.cells[y, name].scores
                found.append(Improvement(x, y, name, estimate(probability_of_improvement, *scores)))
            if self.aggregates:
                scores = self.normalized(x), self.normalized(y)
                found.append(Improvement(x, y, None, estimate(probability_of_improvement, *scores)))
        return tuple(found)

    @property
    def aggregates(self) -> bool:
        """Whether there are statistics over environments: several of them, and common seeds for each algorithm."""
        return len(self.environments) > 1 and all(map(self.seeds, self.algorithms))

    @cached_property
    def aggregate(self) -> Mapping[str, Estimate]:
        """Interquartile mean of the normalized scores by algorithm."""
        return {name: estimate(iqm, self.normalized(name)) for name in self.algorithms} if self.aggregates else {}

    def aggregate_band(self, algorithm: str) -> Band:
        """Interquartile mean of the normalized return over all environments against environment steps."""
        low, span = self._scale
        return _band(self._rows(algorithm), lambda returns: (returns - low[:, None]) / span[:, None])

    def common_curves(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Steps [G] where all compared runs have data, and the returns [N, M, G] there by algorithm."""
        rows = {name: self._rows(name) for name in self.algorithms}
        grid = _grid([record for each in rows.values() for row in each for record in row])
        return grid, {name: _on_grid(each, grid) for name, each in rows.items()}

    @property
    def single_seeds(self) -> bool:
        """Whether no algorithm has a second run anywhere, so that there are no intervals."""
        return all(len(cell.records) == 1 for cell in self.cells.values())

    def _rows(self, algorithm: str) -> list[list[Record]]:
        """Runs by seed and environment."""
        by_seed = [{r.seed: r for r in self.cells[algorithm, name].records} for name in self.environments]
        return [[column[seed] for column in by_seed] for seed in self.seeds(algorithm)]

    @cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest score and span of all scores, by environment."""
        columns = [
            np.concatenate([self.cells[algorithm, name].scores for algorithm in self.algorithms])
            for name in self.environments
        ]
        low, high = (np.array([limit(column) for column in columns]) for limit in (np.min, np.max))
        return low, np.where(high > low, high - low, 1.0)


def compare_runs(runs: Sequence[Any], *, threshold: float | None = None) -> Comparison:
    """Compare runs that differ in algorithm, settings, environment or seed.

    Args:
        runs: runs with `path`, `info` and `metrics`.
        threshold: return to reach, of one environment; by default the task's own, see `Threshold`.
    Raises:
        UsageError: no run has a finished round; runs of one environment are of different tasks; an algorithm has no
            run on an environment that another has; a threshold for several environments.
    """
    gathered = gather(runs)
    if threshold is not None and len(gathered.environments) > 1:
        raise UsageError(
            f"a threshold is a return of one environment, and the runs are of {len(gathered.environments)} "
            f"({', '.join(gathered.environments)}): leave it out, or compare the runs of one environment."
        )
    cells: dict[tuple[str, str], Cell] = {}
    for name in gathered.environments:
        columns = {algorithm: gathered.cells[algorithm, name] for algorithm in gathered.algorithms}
        limit = threshold_of([record for column in columns.values() for record in column], threshold)
        cells |= {(algorithm, name): Cell(algorithm, name, column, limit) for algorithm, column in columns.items()}
    found = Comparison(gathered.algorithms, gathered.environments, cells, gathered.records, gathered.notes)
    return replace(found, notes=(*gathered.notes, *_seed_notes(found)))


def _seed_notes(found: Comparison) -> list[str]:
    if found.single_seeds:
        return ["one seed each, so there are no intervals: differences may be chance. Train more seeds."]
    notes = []
    single = [f"{cell.algorithm} on {cell.environment}" for cell in found.cells.values() if len(cell.records) == 1]
    if single:
        notes.append(f"a single seed, so no interval: {', '.join(single)}.")
    if len(found.environments) == 1:
        return notes
    for algorithm in found.algorithms:
        common = found.seeds(algorithm)
        every = {r.seed for name in found.environments for r in found.cells[algorithm, name].records}
        if not common:
            notes.append(f"no statistics over all environments: {algorithm} has no seed that all environments have.")
        elif len(common) < len(every):
            notes.append(f"over all environments, {algorithm} counts with the seeds common to them: {_listed(common)}.")
    return notes


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _band(rows: Sequence[Sequence[Record]], normalize: Callable[[np.ndarray], np.ndarray]) -> Band:
    """Interquartile mean of normalized curves, rows by tasks, where all have data."""
    grid = _grid([record for row in rows for record in row])
    returns = normalize(_on_grid(rows, grid))
    if len(rows) < 2 or not len(grid):
        return Band(grid, iqm(returns), np.full(len(grid), np.nan), np.full(len(grid), np.nan))
    return Band(grid, iqm(returns), *interval(bootstrap(iqm, returns, reps=REPS, rng=np.random.default_rng(0))))


def _grid(records: Sequence[Record]) -> np.ndarray:
    """Steps with equal ratios between those where all runs have data; empty where there are none."""
    if not records:
        return np.empty(0)
    first, last = max(r.env_steps[0] for r in records), min(r.env_steps[-1] for r in records)
    if last <= first:
        return np.array([first] if last == first else [])
    grid = np.geomspace(first, last, POINTS)
    grid[0], grid[-1] = first, last  # without rounding errors
    return grid


def _on_grid(rows: Sequence[Sequence[Record]], grid: np.ndarray) -> np.ndarray:
    """Returns [N, M, G], linear between rounds."""
    return np.array([[np.interp(grid, record.env_steps, record.returns) for record in row] for row in rows])
