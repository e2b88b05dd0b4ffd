"""`forethought report RUN [RUN ...]`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser

ABOUT = "write a self-contained HTML report of one run, or a comparison of several"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory")
    parser.add_argument("--out", metavar="FILE", help="output file (default: report.html in the first run)")
    parser.add_argument(
        "--episodes",
        type=int,
        default=5,
        metavar="N",
        help="evaluation episodes of a single run (default: 5)",
    )
    parser.add_argument("--no-video", action="store_true", help="leave out the video")


def run(values: argparse.Namespace) -> int:
    """Write the report and print its name."""
    from forethought.report import write_report

    page = write_report(values.runs, out=values.out, episodes=values.episodes, video=not values.no_video)
    print(f"report: {page}")
    return 0
