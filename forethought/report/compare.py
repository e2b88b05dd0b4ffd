"""The page that compares several runs, from their records alone: no environment is opened."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from forethought.report import plots
from forethought.report.curves import Curve
from forethought.report.page import Page, Picture, Section, Table
from forethought.report.record import algorithm_name, curve_of, duration, flat_settings, groups_of, number

LAST = 5  # rounds that "return, last rounds" averages


def compare(runs: Sequence[Any]) -> Page:
    """Learning curves over each other, with a table of what every run reached and which settings differ."""
    groups = groups_of(runs)
    environments = sorted({str(run.info["env"]["name"]) for run in runs})
    several = any(len(group.curves) > 1 for group in groups)
    band = (
        " Thin lines are single seeds, the thick line their mean, the band one standard deviation." if several else ""
    )
    pictures = [
        Picture(
            plots.learning_curve(groups),
            "Return (sum of rewards) of each round's last episode against real steps; circles mark the first round "
            "of a run that solved the task." + band,
            size="wide",
        ),
        Picture(plots.wall_time(groups), "The same returns against the wall-clock minutes that training took."),
    ]
    if any(np.isfinite(curve.model_error).any() for group in groups for curve in group.curves):
        pictures.append(
            Picture(
                plots.model_error_curve(groups),
                "The model error that each round reports, as its algorithm defines it (no unit).",
            )
        )
    sections = [
        Section("Learning curves", pictures=pictures),
        Section("Results", text=[_how_to_read()], table=_results(runs)),
    ]
    differing = _differences(runs)
    if differing.rows:
        sections.append(Section("Settings that differ", table=differing))
    return Page(
        title=f"{len(runs)} runs on {', '.join(environments)}",
        subtitle="; ".join(
            f"{group.label}: {len(group.curves)} run{'s' * (len(group.curves) > 1)}" for group in groups
        ),
        status=_status(runs),
        sections=sections,
        foot="Written by Forethought from the runs' own records.",
    )


def _how_to_read() -> str:
    return (
        f"Returns are those of training episodes: the mean over the last {LAST} rounds, and the best round. "
        "'Solved at' is the first round whose last episode met the task's own test."
    )


def _results(runs: Sequence[Any]) -> Table:
    progress = ("rounds", "real steps", "return, last rounds", "best return", "solved at", "wall clock")
    head = ("run", "algorithm", "seed", "status", *progress)
    return Table(head, [_row(run, curve_of(run, "")) for run in runs])


def _row(run: Any, curve: Curve) -> list[str]:
    returns = curve.returns[np.isfinite(curve.returns)]
    first = curve.first_solved
    return [
        str(run.path),
        algorithm_name(run.info),
        str(run.info["seed"]),
        str(run.info["status"]),
        str(len(curve.returns)),
        number(curve.env_steps[-1], 7),
        number(returns[-LAST:].mean()) if len(returns) else "-",
        number(returns.max()) if len(returns) else "-",
        "-" if first is None else f"{number(curve.env_steps[first], 7)} steps ({duration(curve.wall_s[first])})",
        duration(curve.wall_s[-1]),
    ]


def _differences(runs: Sequence[Any]) -> Table:
    settings = [dict(flat_settings(run.info["algorithm"])) for run in runs]
    names = list(dict.fromkeys(name for each in settings for name in each))
    differing = [name for name in names if len({each.get(name) for each in settings}) > 1]
    rows = [[name, *(each.get(name, "-") for each in settings)] for name in differing]
    return Table(("setting", *(str(run.path) for run in runs)), rows)


def _status(runs: Sequence[Any]) -> str:
    """The least finished status among the runs."""
    present = {run.info["status"] for run in runs}
    return next((status for status in ("failed", "interrupted", "running") if status in present), "done")
