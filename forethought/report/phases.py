"""The phases of a run that has several, such as MB-MF: what each took and what it came to."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from forethought.algorithms.mb_mf import PHASES
from forethought.report.page import Section, Table
from forethought.report.record import duration, number


def phase_sections(metrics: Sequence[Mapping[str, Any]]) -> list[Section]:
    """A table with one row for each phase; nothing for runs without phases.

    `metrics` are the lines of `metrics.jsonl`; `phase` counts from 1.
    """
    rows: list[tuple[str, ...]] = []
    steps, seconds = 0, 0.0
    for phase, group in groupby((line for line in metrics if line.get("phase")), key=lambda line: int(line["phase"])):
        lines = list(group)
        returns = [line["return"] for line in lines if line.get("return") is not None]
        last = lines[-1]
        rows.append(
            (
                f"{phase}: {PHASES[phase - 1]}",
                str(len(lines)),
                number(float(last["env_steps"] - steps), 7),
                duration(last["wall_s"] - seconds),
                number(max(returns), 4) if returns else "-",
                number(returns[-1], 4) if returns else "-",
            )
        )
        steps, seconds = last["env_steps"], last["wall_s"]
    head = ("phase", "rounds", "environment steps", "time", "best return", "last return")
    return [Section("Phases", table=Table(head, rows))] if rows else []
