"""`write_report`: one run in depth, or several compared, as one self-contained HTML file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forethought.core import UsageError
from forethought.report.page import Page, render

if TYPE_CHECKING:
    from forethought.report.comparison import Comparison


def write_report(
    runs: "Sequence[str | Path | Any] | Comparison",
    *,
    out: str | Path | None = None,
    episodes: int = 5,
    seed: int | None = None,
    video: bool = True,
    threshold: float | None = None,
    on_stage: Callable[[str], object] | None = None,
) -> Path:
    """Write the report of one run, or of several compared, and name the file.

    Args:
        runs: runs, or their directories, or folders that contain those; or a comparison that was made before.
        out: the file; by default `report.html` in the first run's directory, or in the folder of all runs.
        episodes: number of new episodes on which one run and its model are evaluated.
        seed: of those episodes; by default that of the training.
        video: include a video of an episode (of one run).
        threshold: return that several runs are to reach; by default the task's own (see `compare`).
        on_stage: called with what is examined next, in words (of one run).
    Raises:
        UsageError: there is no run, one has not finished a round, or runs cannot be compared.
    """
    from forethought.report.comparison import Comparison

    if isinstance(runs, Comparison):
        first = Path(runs.records[0].path)
        return write(_comparison_page(runs), _target(out, first))
    opened = open_runs(runs)
    target = _target(out, Path(runs[0]) if isinstance(runs[0], str | Path) else Path(opened[0].path))
    if len(opened) > 1:
        return write(_comparison_page(compare(opened, threshold=threshold)), target)
    if not opened[0].metrics:
        raise UsageError(f"{opened[0].path} has no finished round, so there is nothing to report; train it longer.")
    return write(_page(opened[0], episodes, seed, video, on_stage), target)


def compare(runs: "Sequence[str | Path | Any]", *, threshold: float | None = None) -> "Comparison":
    """Compare runs that differ in algorithm, settings, environment or seed; a value with scores, curves and intervals.

    Args:
        runs: runs, or their directories, or folders that contain those.
        threshold: return to reach, of one environment.  By default the task's own: its test of success, or the reward
            threshold that Gymnasium registers; without either, 90% of the way from the first rounds to the best
            algorithm.
    Raises:
        UsageError: there is no run, or the runs cannot be compared.
    """
    from forethought.report.comparison import compare_runs

    return compare_runs(open_runs(runs), threshold=threshold)


def open_runs(runs: "Sequence[str | Path | Any]") -> list[Any]:
    """The runs; a folder that is none itself stands for all runs directly inside it.

    Raises:
        UsageError: there is none.
    """
    from forethought.runs.run import load

    if not runs:
        raise UsageError("report needs at least one run directory.")
    found: list[Any] = []
    for run in runs:
        found += map(load, _run_directories(Path(run))) if isinstance(run, str | Path) else [run]
    return found


def _run_directories(folder: Path) -> list[Path]:
    """A run directory itself, or those directly inside a folder; the folder where there are none."""
    inside = [] if (folder / "run.json").exists() else sorted(path.parent for path in folder.glob("*/run.json"))
    return inside or [folder]


def _target(out: str | Path | None, folder: Path) -> Path:
    target = Path(out) if out is not None else folder / "report.html"
    if not target.parent.is_dir():
        raise UsageError(f"report: there is no directory '{target.parent}'.")
    return target


def write(page: Page, target: Path) -> Path:
    """Render the page into `target`, whole or not at all."""
    from forethought.runs.files import write_whole

    write_whole(target, render(page).encode())
    return target


def _page(run: Any, episodes: int, seed: int | None, video: bool, on_stage: Callable[[str], object] | None) -> Page:
    from forethought.report.fit_page import fit_page
    from forethought.report.in_depth import in_depth

    if "logged" in run.info:
        return fit_page(run)
    return in_depth(run, episodes=episodes, seed=seed, video=video, on_stage=on_stage)


def _comparison_page(comparison: "Comparison") -> Page:
    from forethought.report.comparison_page import comparison_page

    return comparison_page(comparison)
