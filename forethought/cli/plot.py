"""`forethought plot gp [RUN]`, `forethought plot imagined RUN`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from forethought.cli.flags import Parser
from forethought.core.errors import UsageError

ABOUT = "draw what a Gaussian process learned, or what it expects of a policy against what happened"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    what = "gp: mean, band, data and sampled functions; imagined: predicted states and costs against real ones (pilco)"
    parser.add_argument("what", choices=["gp", "imagined"], metavar="gp|imagined", help=what)
    where = "a run directory whose model is a Gaussian process (gp alone: the textbook's example, five data points)"
    parser.add_argument("run", nargs="?", metavar="RUN", help=where)
    out = "an .svg or .png (default: gp.svg or imagined.svg, in the run where there is one)"
    parser.add_argument("--out", metavar="FILE", help=out)


def run(values: argparse.Namespace) -> int:
    """Write the picture and name it."""
    target = Path(values.out) if values.out else Path(values.run or ".") / f"{values.what}.svg"
    if target.suffix not in (".svg", ".png"):
        raise UsageError(f"plot writes .svg or .png, not '{target.suffix}'; name the file {values.what}.svg.")
    if values.what == "imagined" and values.run is None:
        raise UsageError("plot imagined needs a run directory.")
    from forethought.report import plot_gp, plot_imagined

    picture = plot_gp(values.run, out=target) if values.what == "gp" else plot_imagined(values.run, out=target)
    print(f"picture: {picture}")
    return 0
