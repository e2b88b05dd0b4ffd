"""The picture of a run's Gaussian process, or of the textbook's example, as a file and on the run's page."""

from pathlib import Path
from typing import Any

import jax

from forethought.core import Problem, UsageError
from forethought.report.gp_plots import hidden, slices_picture, textbook_picture
from forethought.report.gp_slices import Slices, learned_gp, slices_of, textbook
from forethought.report.page import Picture, Section
from forethought.runs.files import write_whole
from forethought.runs.run import load
from forethought.runs.transitions import load_episodes


def plot_gp(run: "str | Path | Any | None" = None, *, out: str | Path = "gp.svg") -> Path:
    """Draw the learned dynamics of `run`, every output along every input; without it five points in one dimension.

    Args:
        run: a run whose model is a Gaussian process, or its directory.
        out: the file, .svg or .png.
    Raises:
        UsageError: the run has no Gaussian process or no experience, or there is no directory to write to.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"plot: there is no directory '{target.parent}'.")
    image_format = target.suffix.removeprefix(".") or "svg"
    if run is None:
        with jax.enable_x64(True):
            content = textbook_picture(textbook(), image_format)
    else:
        run = load(run) if isinstance(run, str | Path) else run
        problem = run.algorithm.problem(run.state, run.env) if hasattr(run.algorithm, "problem") else None
        slices = _slices(run.path, problem)
        if slices is None:
            raise UsageError(f"{run.path} has learned no Gaussian process (yet); train it longer, with `--model gp`.")
        content = slices_picture(slices, image_format)
    write_whole(target, content)
    return target


def gp_sections(path: Path, problem: Problem | None) -> list[Section]:
    """For the page about the run at `path`: one section where its model is a Gaussian process, else none."""
    slices = _slices(path, problem)
    if slices is None:
        return []
    caption = (
        "What the model believes along one input at a time, the others held at a typical row of the data: posterior "
        "mean, one standard deviation of the function (noise left out), three functions that it holds possible. Data "
        "are brought to the slice by the model's own mean, so that what shows is each one's error; they are the darker "
        "the more they say about the slice, by the kernel."
    )
    picture = Picture(slices_picture(slices), caption, size="wide")
    return [Section("The Gaussian process", text=[rest] if (rest := hidden(slices)) else [], pictures=[picture])]


def _slices(path: Path, problem: Problem | None) -> Slices | None:
    """What there is to draw; None where the model is another one or nothing was experienced yet."""
    dynamics = learned_gp(problem)
    experience = load_episodes(Path(path) / "transitions") if dynamics is not None else []
    return slices_of(dynamics, experience) if dynamics is not None and experience else None
