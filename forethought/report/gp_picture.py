"""The plot of a run's Gaussian process, or of a textbook example, as a file and as a section of the report."""

from pathlib import Path
from typing import Any

import jax

from forethought.core import Problem
from forethought.report.gp_plots import hidden, slices_picture, textbook_picture
from forethought.report.gp_slices import Slices, learned_gp, slices_of, textbook
from forethought.report.model_plot import write_model_plot
from forethought.report.page import Picture, Section
from forethought.report.plan_prediction import names_of_actions
from forethought.runs.transitions import load_episodes


def plot_gp(run: "str | Path | Any | None" = None, *, out: str | Path = "gp.svg") -> Path:
    """Plot the learned dynamics of `run`, every output along every input; without a run, five points in one dimension.

    Args:
        run: a run whose model is a Gaussian process, or its directory.
        out: the file, .svg or .png.
    Raises:
        UsageError: the run has no Gaussian process or no experience, or there is no directory to write to.
    """
    missing = "fitted Gaussian process: train it longer, or with --model gp"
    return write_model_plot(run, out, textbook=_textbook, of_run=_of_run, missing=missing)


def _textbook(image_format: str) -> bytes:
    with jax.enable_x64(True):
        return textbook_picture(textbook(), image_format)


def _of_run(path: Path, problem: Problem | None, image_format: str) -> bytes | None:
    slices = _slices(path, problem)
    return None if slices is None else slices_picture(slices, image_format)


def gp_sections(path: Path, problem: Problem | None) -> list[Section]:
    """The section of the report of the run at `path`, if its model is a Gaussian process."""
    slices = _slices(path, problem)
    if slices is None:
        return []
    caption = (
        "The model along one input at a time, the other inputs fixed at a typical data point: posterior mean, one "
        "standard deviation of the function (without observation noise), and three samples from the posterior. Each "
        "data point is shifted onto the slice by the posterior mean, so that its distance from the mean curve is its "
        "residual. The darker a point, the closer it is to the slice in the other inputs, as measured by the kernel."
    )
    picture = Picture(slices_picture(slices), caption, size="wide")
    return [Section("Gaussian process", text=[rest] if (rest := hidden(slices)) else [], pictures=[picture])]


def _slices(path: Path, problem: Problem | None) -> Slices | None:
    """What to plot; None if the model is not a Gaussian process or there are no data yet."""
    dynamics = learned_gp(problem)
    experience = load_episodes(Path(path) / "transitions") if dynamics is not None else []
    if problem is None or dynamics is None or not experience:
        return None
    return slices_of(dynamics, experience, names_of_actions(problem.task, experience[0]))
