"""`forethought report RUN [RUN ...]`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from forethought.cli import progress_line
from forethought.cli.flags import Parser
from forethought.core.errors import UsageError

ABOUT = "write a self-contained HTML report of one run, or a comparison of several"
AFTER = """\
Several runs are grouped by algorithm and environment over seeds. The page and the printed summary give the
interquartile mean of the return with 95% bootstrap intervals, the probability of improvement, and the environment
steps to a threshold. Every algorithm needs runs on the same environments.

  forethought report runs/sweep                          # all runs in a folder
  forethought report runs/a-seed* runs/b-seed* --threshold 300 --json scores.json
"""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.epilog = AFTER
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory, or a folder of several")
    parser.add_argument(
        "--out", metavar="FILE", help="output file (default: report.html in the first run or in the folder)"
    )
    one = parser.add_argument_group("one run")
    one.add_argument("--episodes", type=int, default=5, metavar="N", help="evaluation episodes (default: 5)")
    one.add_argument("--no-video", action="store_true", help="write no video")
    several = parser.add_argument_group("several runs")
    several.add_argument(
        "--threshold",
        type=float,
        metavar="R",
        help="return to reach (default: the task's success test or registered reward threshold, or else 90%% of the "
        "way from the first rounds to the best algorithm)",
    )
    several.add_argument("--json", metavar="FILE", help="write scores, curves and intervals, for rliable or a program")


def run(values: argparse.Namespace) -> int:
    """Write the report and print its name; of several runs also the summary."""
    from forethought.report.html import open_runs, write_report

    runs = open_runs(values.runs)
    if len(runs) > 1:
        return _compared(runs, values)
    if values.json is not None or values.threshold is not None:
        raise UsageError("--threshold and --json are for several runs; `forethought evaluate RUN --json` is for one")
    page = write_report(
        values.runs,
        out=values.out,
        episodes=values.episodes,
        video=not values.no_video,
        on_stage=lambda stage: progress_line.show(f"report: {stage}"),
    )
    progress_line.clear()
    print(f"report: {page}")
    return 0


def _compared(runs: Sequence[object], values: argparse.Namespace) -> int:
    from forethought.report.comparison import compare_runs
    from forethought.report.comparison_text import as_json, summary
    from forethought.report.html import write_report
    from forethought.runs.files import write_json

    comparison = compare_runs(runs, threshold=values.threshold)
    print(summary(comparison))
    if values.json is not None:
        write_json(Path(values.json), as_json(comparison))
        print(f"scores: {values.json}")
    out = values.out or Path(values.runs[0]) / "report.html"
    print(f"report: {write_report(comparison, out=out)}")
    return 0
