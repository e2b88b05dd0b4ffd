"""`forethought video RUN`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser

ABOUT = "film an episode of a trained controller"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--out", metavar="FILE", help="where to write it (default: run.mp4 in the run)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seeds the episode (default: 0)")


def run(values: argparse.Namespace) -> int:
    """Film the episode and name the file."""
    from forethought.report import film

    print(f"video: {film(values.run, out=values.out, seed=values.seed)}")
    return 0
