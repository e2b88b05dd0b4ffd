"""`forethought distill RUN`."""

import argparse
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from forethought.cli.flags import Parser, add_settings, given_settings
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core.errors import UsageError
from forethought.registry import STUDENTS

ABOUT = (
    "train a student of trained runs: one network for an ensemble, a policy for a planner, one policy for many games"
)
AFTER = """\
Without --to, a run that plans with an ensemble gives its dynamics: the student plans with one network. Any other run
gives its controller: the student is a policy network, trained by DAgger. The student is a run: evaluate, report and
video work with it. Several runs of ppo-images give one policy with a head for each game (--to games). The settings
below follow --to; without it, those of the first two kinds are shown.

  forethought distill runs/pets --out runs/student                          # plans with one network
  forethought distill runs/pets --to policy --out runs/policy               # acts without planning
  forethought distill runs/pets --to policy --observed "cart position" "pole angle" --history 3 --out runs/positions
  forethought distill runs/breakout runs/freeway --loss kl --out runs/both    # one policy for several games
"""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments; `--to` decides which settings become flags."""
    parser.usage = "forethought distill RUN [RUN ...] [options] [--AREA.SETTING VALUE ...]"
    parser.epilog = AFTER
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run directory: the teacher, or one of several")
    parser.add_argument("--out", metavar="DIR", required=True, help="run directory of the student")
    parser.add_argument("--to", choices=list(STUDENTS), help="kind of student (default: follows from the run)")
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="rounds (default: 2 for dynamics, 12 for a policy, 20 for games)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed (default: 0)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out where it stopped")
    for kind in _kinds(argv):
        add_settings(parser, _settings(kind), title=f"settings of --to {kind}")


def run(values: argparse.Namespace) -> int:
    """Distill, show progress, and print the run directory."""
    from forethought.runs.distill import distill, kind_of
    from forethought.runs.run import Run

    kind = kind_of([Run(path) for path in values.runs], values.to)
    for other in STUDENTS.keys() - {kind}:
        only = given_settings(_settings(other), values).keys() - {f.name for f in _settings(kind).fields}
        for path in sorted(only - given_settings(_settings(kind), values).keys()):
            raise UsageError(f"--{path.replace('_', '-')} is for a student of kind {other}, and this one is {kind}")
    settings = _settings(kind)
    student = distill(
        values.runs,
        out=values.out,
        algorithm=_constructed(settings, values),
        iterations=values.iterations,
        seed=values.seed,
        resume=values.resume,
    )
    print(f"run: {student.path}")
    return 0


def _constructed(settings: Settings, values: argparse.Namespace) -> Any:
    return settings.construct(given_settings(settings, values))


def _settings(kind: str) -> Settings:
    """The settings of a student without its teacher, which is the run."""
    return read_settings(STUDENTS[kind], skip=("teacher", "games", "experts"))


def _kinds(argv: Sequence[str]) -> list[str]:
    """The kinds of student whose settings become flags."""
    given = [word.rpartition("=")[2] for word in argv if word in STUDENTS or word.startswith("--to=")]
    if given:
        return [kind for kind in STUDENTS if kind in given[-1:]]
    runs = list(takewhile(lambda word: not word.startswith("-"), argv))
    return ["games"] if len(runs) > 1 else [kind for kind in STUDENTS if kind != "games"]
