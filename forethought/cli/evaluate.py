"""`forethought evaluate RUN`."""

import argparse
import json
from collections.abc import Sequence

from forethought.cli.flags import Parser

ABOUT = "run a trained controller on its real environment; prints mean and spread"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument("run", metavar="RUN", help="a run directory")
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="episodes (default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seeds the episodes (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(values: argparse.Namespace) -> int:
    """Evaluate and print."""
    from forethought.runs import load

    facts = load(values.run).evaluate(episodes=values.episodes, seed=values.seed)
    return 0
