"""`forethought plot gp [RUN]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from forethought.cli.flags import Parser
from forethought.core.errors import UsageError

ABOUT = "draw what a Gaussian process learned: mean, band, data and sampled functions"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("what", choices=["gp"], metavar="gp", help="Gaussian processes")
    where = "a run directory whose model is a Gaussian process (default: the textbook's example, five data points)"
    parser.add_argument("run", nargs="?", metavar="RUN", help=where)
    parser.add_argument(
        "--out", metavar="FILE", help="an .svg or .png (default: gp.svg, in the run where there is one)"
    )


def run(values: argparse.Namespace) -> int:
    """Write the picture and name it."""
    target = Path(values.out) if values.out else Path(values.run or ".") / "gp.svg"
    if target.suffix not in (".svg", ".png"):
        raise UsageError(f"plot writes .svg or .png, not '{target.suffix}'; name the file gp.svg.")
    from forethought.report import plot_gp

    print(f"picture: {plot_gp(values.run, out=target)}")
    return 0
