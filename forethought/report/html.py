"""`write_report`: one run in depth, or several compared, as one self-contained HTML file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forethought.core import UsageError
from forethought.report.page import Page, render


def write_report(
    runs: "Sequence[str | Path | Any]",
    *,
    out: str | Path | None = None,
    episodes: int = 5,
    seed: int | None = None,
    video: bool = True,
) -> Path:
    """Write the report of one run, or of several compared, and name the file.

    Args:
        runs: runs, or their directories.
        out: the file; by default `report.html` in the first run's directory.
        episodes: number of new episodes on which one run and its model are evaluated.
        seed: of those episodes; by default that of the training.
        video: include a video of an episode (of one run).
    Raises:
        UsageError: there is no run, or one has not finished a round.
    """
    from forethought.runs.run import load

    if not runs:
        raise UsageError("report needs at least one run directory.")
    opened = [load(run) if isinstance(run, str | Path) else run for run in runs]
    for run in opened:
        if not run.metrics:
            raise UsageError(f"{run.path} has no finished round, so there is nothing to report; train it longer.")
    target = Path(out) if out is not None else Path(opened[0].path) / "report.html"
    if not target.parent.is_dir():
        raise UsageError(f"report: there is no directory '{target.parent}'.")
    return write(_page(opened, episodes, seed, video), target)


def write(page: Page, target: Path) -> Path:
    """Render the page into `target`, whole or not at all."""
    from forethought.runs.files import write_whole

    write_whole(target, render(page).encode())
    return target


def _page(runs: Sequence[Any], episodes: int, seed: int | None, video: bool) -> Page:
    if len(runs) > 1:
        from forethought.report.compare import compare

        return compare(runs)
    from forethought.report.in_depth import in_depth

    return in_depth(runs[0], episodes=episodes, seed=seed, video=video)
