"""`forethought plot gp|gmm|controller [RUN]`, `forethought plot prediction RUN`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from forethought.cli.flags import Parser
from forethought.core.errors import UsageError

ABOUT = "plot the Gaussian process, mixture or local controller of a run, or its predicted and executed trajectories"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    what = (
        "gp: posterior mean, data and samples; gmm: components and data; controller: states, actions and exploration "
        "of the first local controller (local-models, gps); prediction: predicted and executed states and costs (pilco)"
    )
    kinds = ["gp", "gmm", "controller", "prediction"]
    parser.add_argument("what", type=_kind, choices=kinds, metavar="|".join(kinds), help=what)
    where = "directory of a run with this model (without one, gp, gmm and controller plot a textbook example)"
    parser.add_argument("run", nargs="?", metavar="RUN", help=where)
    out = "output file, .svg or .png (default: KIND.svg, such as gp.svg, in the run directory if one is given)"
    parser.add_argument("--out", metavar="FILE", help=out)


def _kind(text: str) -> str:
    return "prediction" if text == "imagined" else text  # its name in release 0.1


def run(values: argparse.Namespace) -> int:
    """Write the plot and print its name."""
    target = Path(values.out) if values.out else Path(values.run or ".") / f"{values.what}.svg"
    if target.suffix not in (".svg", ".png"):
        raise UsageError(f"plot writes .svg or .png, not '{target.suffix}'; name the file {values.what}.svg.")
    if values.what == "prediction" and values.run is None:
        raise UsageError("plot prediction needs a run directory.")
    from forethought.report import plot_controller, plot_gmm, plot_gp, plot_prediction

    models = {"gp": plot_gp, "gmm": plot_gmm, "controller": plot_controller}
    plot = models.get(values.what)
    picture = plot(values.run, out=target) if plot else plot_prediction(values.run, out=target)
    print(f"picture: {picture}")
    return 0
