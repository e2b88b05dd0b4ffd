"""`forethought fit DATA`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
from forethought.cli.settings_reader import read_settings

ABOUT = "fit a model of the dynamics to logged data; writes a run directory and a report"
HOME = "forethought.algorithms.model_fit:ModelFit"
AFTER = """\
DATA is a run directory, a .csv, .parquet or .npz file, or the id of a local Minari data set. A table has one row for
each time step: the state, the action taken in it, and optionally the columns time (s), episode, reward and terminated.

  forethought fit log.csv --actions "force (N)" --angles "pole angle (rad)" --out runs/model
  forethought plan forethought/CartPoleSwingUp-v0 --model runs/model --planner icem
  forethought train pets forethought/CartPoleSwingUp-v0 --data log.csv --iterations 10
"""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; `argv` determines the model whose settings become flags."""
    parser.epilog = AFTER
    parser.usage = "forethought fit DATA --out DIR [--model NAME] [options] [--model.SETTING VALUE ...]"
    parser.add_argument("data", metavar="DATA", help="recorded episodes: a run, a file, or a Minari data set")
    parser.add_argument("--out", required=True, metavar="DIR", help="run directory of the model")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    data = parser.add_argument_group("the data")
    data.add_argument(
        "--states", nargs="+", metavar="NAME", help="state columns, in order (default: all without another role)"
    )
    data.add_argument(
        "--actions",
        nargs="+",
        metavar="NAME",
        help="action columns, in order (default: those called action, control or u)",
    )
    data.add_argument("--angles", nargs="+", metavar="NAME", help="states that are angles in radians: names or indices")
    data.add_argument("--dt", type=float, metavar="SECONDS", help="time step (default: from the column time)")
    data.add_argument("--rows", type=int, metavar="N", help="read only the first N rows, as of a file over 1 GiB")
    parser.add_argument("--no-report", action="store_true", help="write no report")
    settings = choose_areas(read_settings(HOME), argv)
    parser.set_defaults(settings=settings)
    add_settings(parser, settings, title="settings of the fit")


def run(values: argparse.Namespace) -> int:
    """Fit, write the run and its report, and print where they are."""
    algorithm = values.settings.construct(given_settings(values.settings, values))
    from forethought.report.html import write_report
    from forethought.runs.fit import fit

    chosen = {name: getattr(values, name) for name in ("states", "actions", "angles", "dt", "rows")}
    how = {"held_out": algorithm.held_out, "recalibrate": algorithm.recalibrate}
    done = fit(values.data, algorithm.model, out=values.out, seed=values.seed, **how, **chosen)
    for note in done.info["logged"]["notes"]:
        print(f"note: {note}")
    line = done.metrics[-1]
    held = len(done.info["logged"]["held_out"])
    tested = f"{held} episodes that were held out" if held else "the same episodes"
    print(f"{line['env_steps']:,} steps in {line['episodes']} episodes; one-step error on {tested}: "
          f"{line['model_error']:.3g} standard deviations of the changes")  # fmt: skip
    print(f"run: {done.path}")
    if not values.no_report:
        print(f"report: {write_report([done])}")
    return 0
