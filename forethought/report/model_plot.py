"""The plot of the learned model of a run, or of a textbook example, as a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from forethought.core import Problem, UsageError
from forethought.runs.files import write_whole
from forethought.runs.run import load

RunPlot = Callable[[Path, Problem | None, str], bytes | None]


def write_model_plot(
    run: "str | Path | Any | None", out: str | Path, *, textbook: Callable[[str], bytes], of_run: RunPlot, missing: str
) -> Path:
    """Write the plot of the model of `run`, or without a run the textbook example.

    Args:
        run: a run, its directory, or None.
        out: the file, .svg or .png.
        textbook: draws the example in an image format.
        of_run: draws the model in an image format, given the run's directory and planning problem; None if the run has
            no such model.
        missing: what the run lacks then, and how to get it.
    Raises:
        UsageError: the run has no such model, or there is no directory to write to.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"plot: there is no directory '{target.parent}'.")
    image_format = target.suffix.removeprefix(".") or "svg"
    if run is None:
        write_whole(target, textbook(image_format))
        return target
    run = load(run) if isinstance(run, str | Path) else run
    problem = run.algorithm.problem(run.state, run.env) if hasattr(run.algorithm, "problem") else None
    content = of_run(run.path, problem, image_format)
    if content is None:
        raise UsageError(f"{run.path} has no {missing}.")
    write_whole(target, content)
    return target
