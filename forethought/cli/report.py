"""`forethought report RUN [RUN ...]`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser

ABOUT = "write a self-contained report.html: one run in depth, or several compared"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory")
    parser.add_argument("--out", metavar="FILE", help="where to write it (default: report.html in the first run)")
    parser.add_argument(
        "--episodes", type=int, default=5, metavar="N", help="fresh episodes that one run is judged on (default: 5)"
    )
    parser.add_argument("--no-video", action="store_true", help="do not film one run's controller")


def run(values: argparse.Namespace) -> int:
    """Write the report and name it."""
    from forethought.report import write_report

    page = write_report(values.runs, out=values.out, episodes=values.episodes, video=not values.no_video)
    print(f"report: {page}")
    return 0
