"""`forethought check ENV`."""

import argparse
from collections.abc import Sequence

from forethought.cli.flags import Parser
from forethought.cli.train import add_environment

ABOUT = "tell what is wrong with an environment, a cost or a termination function"


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    add_environment(parser)


def run(values: argparse.Namespace) -> int:
    """Try the environment out and print the findings; 1 where there is an error among them."""
    raise NotImplementedError
