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


def run(values: argparse.Namespace) -> int:
    """Write the report and name it."""
    from forethought.report import write_report

    print(f"report: {write_report(values.runs, out=values.out)}")
    return 0
