"""`forethought train ALGORITHM ENV`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser, add_settings, choose_areas, given_settings
from forethought.cli.settings import Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import ALGORITHMS

ABOUT = "learn to control an environment; leaves a run directory"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; those of the settings belong to the algorithm that `argv` names."""
    known = ", ".join(ALGORITHMS)
    parser.add_argument("algorithm", metavar="ALGORITHM", type=_algorithm, help=f"one of: {known}")
    add_environment(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seeds everything random (default: 0)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--env-steps", type=int, metavar="N", help="stop after this many real steps")
    budget.add_argument("--iterations", type=int, metavar="N", help="stop after this many rounds")
    parser.add_argument("--out", metavar="DIR", help="run directory (default: runs/ALGORITHM-ENV-sSEED)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out exactly where it stopped")
    parser.add_argument("--until-solved", action="store_true", help="stop as soon as the task's own test is met")
    settings = _settings(argv)
    if settings is None:
        parser.epilog = "Settings are flags too: `forethought train ALGORITHM --help` shows those of an algorithm."
    else:
        add_settings(parser, settings)


def run(values: argparse.Namespace) -> int:
    """Train."""
    raise NotImplementedError


def add_environment(parser: Parser) -> None:
    """The environment, and what may be told about it."""
    parser.add_argument("env", metavar="ENV", help="a Gymnasium id, as HalfCheetah-v5 or module:Name-v0")
    parser.add_argument("--cost", metavar="MODULE:FUNCTION", help="cost(x, u) in place of a learned reward")
    parser.add_argument("--termination", metavar="MODULE:FUNCTION", help="termination(x) in place of a learned one")
    angles = "observation entries that are angles in radians (default: as the environment says)"
    parser.add_argument("--angles", type=int, nargs="+", metavar="I", help=angles)


def _algorithm(name: str) -> str:
    if name not in ALGORITHMS:
        raise UsageError(f"unknown algorithm '{name}'; {nearest(name, ALGORITHMS)}")
    return name


def _settings(argv: Sequence[str]) -> Settings | None:
    """The settings of the algorithm that is named first among the arguments."""
    name = next((word for word in argv if word in ALGORITHMS), None)
    return choose_areas(read_settings(ALGORITHMS[name]), argv) if name else None
