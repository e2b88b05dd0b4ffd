"""`forethought list`."""

import argparse
from collections.abc import Mapping, Sequence

from forethought.cli.flags import Parser
from forethought.cli.settings_reader import read_settings
from forethought.core.errors import UsageError, nearest
from forethought.games.catalog import GAMES
from forethought.registry import ALGORITHMS, MODELS, PLANNERS

ABOUT = "algorithms, environments, models, planners and games by name"
KINDS = ("algorithms", "envs", "models", "planners", "games")


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.add_argument(
        "kind", nargs="?", type=_kind, metavar="KIND", help=f"one of: {', '.join(KINDS)} (default: all)"
    )


def run(values: argparse.Namespace) -> int:
    """Print the names with a one-line description of each."""
    for kind in [values.kind] if values.kind else KINDS:
        if not values.kind:
            print(kind)
        for name, about in _lines(kind).items():
            print(f"  {name:34}{about}")
    return 0


def _lines(kind: str) -> Mapping[str, str]:
    if kind == "envs":
        from forethought.envs.arcade.minatar_games import IDS
        from forethought.envs.grids.mazes import MAZES
        from forethought.envs.shipped import NAMESPACE, SHIPPED

        shipped = {NAMESPACE + name: one.description for name, one in (SHIPPED | MAZES).items()}
        games = {id: game.description for id, game in IDS.items()}
        games["ALE/NAME-v5"] = "Atari games: ALE/Pong-v5, ..., with sticky actions; ALE/Pong-v4, ..., without"
        return shipped | games | {"any Gymnasium id": "HalfCheetah-v5, module:MyEnv-v0, ..."}
    if kind == "games":
        return {name: f"{one.title}: {one.about}" for name, one in GAMES.items()}
    homes = {"algorithms": ALGORITHMS, "models": MODELS, "planners": PLANNERS}[kind]
    return {name: read_settings(home).about for name, home in homes.items()}


def _kind(name: str) -> str:
    if name not in KINDS:
        raise UsageError(f"unknown kind '{name}'; {nearest(name, KINDS)}")
    return name
