"""A comparison as tables of text, as a printed summary, and as JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from forethought.report.comparison import Comparison, Improvement
from forethought.report.record import number
from forethought.report.statistics import Estimate
from forethought.report.threshold import Reached, Threshold

ALL = "all environments"
Rows = tuple[tuple[str, ...], list[list[str]]]  # head and rows


def summary(comparison: Comparison) -> str:
    """Scores, steps to the threshold, probabilities of improvement and notes, as lines of text."""
    thresholds = {name: comparison.cells[comparison.algorithms[0], name].threshold for name in comparison.environments}
    parts = [_aligned(*score_rows(comparison))]
    parts += [f"threshold on {name}: {threshold_words(threshold)}" for name, threshold in thresholds.items()]
    if comparison.improvements:
        parts += ["", _aligned(*improvement_rows(comparison))]
    parts += ["", *(f"note: {note}" for note in comparison.notes)] if comparison.notes else []
    return "\n".join(parts)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Scores and curves as rliable reads them, with the estimates of the page.

    `scores` and `normalized_scores` hold for each algorithm a list [runs][environments]; `curves` hold returns
    [runs][environments][steps] at `curve_env_steps`, where all compared runs have data.  The runs are the seeds that
    all environments have.
    """
    environments, algorithms = comparison.environments, comparison.algorithms
    grid, curves = comparison.common_curves()
    return {
        "environments": list(environments),
        "seeds": {name: list(comparison.seeds(name)) for name in algorithms},
        "scores": {name: comparison.scores(name).tolist() for name in algorithms},
        "normalized_scores": {name: comparison.normalized(name).tolist() for name in algorithms},
        "curve_env_steps": grid.tolist(),
        "curves": {name: values.tolist() for name, values in curves.items()},
        "iqm": {
            name: {each: _plain(comparison.cells[name, each].score) for each in environments}
            | ({ALL: _plain(comparison.aggregate[name])} if comparison.aggregates else {})
            for name in algorithms
        },
        "probability_of_improvement": [
            {"better": one.better, "other": one.other, "environment": one.environment or ALL, **_plain(one.probability)}
            for one in comparison.improvements
        ],
        "thresholds": {
            name: vars(comparison.cells[algorithms[0], name].threshold) for name in environments
        },
        "steps_to_threshold": {
            name: {each: list(comparison.cells[name, each].reached.steps) for each in environments}
            for name in algorithms
        },
        "notes": list(comparison.notes),
    }  # fmt: skip


def score_rows(comparison: Comparison) -> Rows:
    """A row for each algorithm and environment, and for all environments together."""
    head = ("algorithm", "environment", "seeds", "score (IQM)", "steps to threshold", "reached by")
    rows = []
    for algorithm in comparison.algorithms:
        for name in comparison.environments:
            cell = comparison.cells[algorithm, name]
            counts = f"{cell.reached.count} of {cell.reached.runs}"
            steps = steps_to(cell.reached)
            rows.append([algorithm, name, str(len(cell.records)), estimated(cell.score), steps, counts])
        if comparison.aggregates:
            seeds = str(len(comparison.seeds(algorithm)))
            score = f"{estimated(comparison.aggregate[algorithm])} normalized"
            rows.append([algorithm, ALL, seeds, score, "", ""])
    return head, rows


def improvement_rows(comparison: Comparison) -> Rows:
    """A row for each pair, a column for each environment."""
    columns: list[str | None] = [*comparison.environments, *([None] if comparison.aggregates else [])]
    found = {(one.better, one.other, one.environment): one for one in comparison.improvements}
    pairs = dict.fromkeys((better, other) for better, other, _ in found)
    rows = [[f"{x} > {y}", *(_probability(found[x, y, column]) for column in columns)] for x, y in pairs]
    return ("probability of improvement", *(column or ALL for column in columns)), rows


def estimated(one: Estimate) -> str:
    """A value with its interval, where it has one."""
    return number(one.value) + (f" [{number(one.low)}, {number(one.high)}]" if np.isfinite(one.low) else "")


def steps_to(reached: Reached) -> str:
    """Median steps with the interval; words where more than half of the runs never reach the threshold."""
    if not reached.count:
        return "-"
    interval = "" if np.isnan(reached.low) else f" [{_steps(reached.low)}, {_steps(reached.high)}]"
    return _steps(reached.median) + interval


def threshold_words(threshold: Threshold) -> str:
    """What is to be reached."""
    if threshold.value is None:
        return threshold.origin
    return f"return {number(threshold.value)} ({threshold.origin})"


def _steps(value: float) -> str:
    return "never" if np.isinf(value) else number(value, 7)


def _probability(one: Improvement) -> str:
    return estimated(one.probability)


def _plain(one: Estimate) -> dict[str, float]:
    return dict(vars(one))


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join(lines)
