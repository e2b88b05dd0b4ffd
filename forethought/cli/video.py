"""`forethought video RUN`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser

ABOUT = "record a video of an episode of a trained controller"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--out", metavar="FILE", help="output file (default: run.mp4 in the run)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed of the episode (default: 0)")


def run(values: argparse.Namespace) -> int:
    """Record the video and print the name of the file."""
    from forethought.report import record_video

    print(f"video: {record_video(values.run, out=values.out, seed=values.seed)}")
    return 0
