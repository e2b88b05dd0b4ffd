"""`forethought play GAME`."""

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from forethought.cli.flags import Parser, add_settings, given_settings
from forethought.cli.settings_reader import Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.games.catalog import GAMES, Game, game
from forethought.registry import SEARCHES

if TYPE_CHECKING:
    from forethought.games.rules import Position, Rules

ABOUT = "play a board game against tree search, in the terminal"
LEAVE = ("quit", "exit", "q")


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the flags; `--search` determines the search whose settings become flags."""
    parser.usage = "forethought play GAME [--first | --second] [--simulations N] [options]"
    parser.add_argument("game", metavar="GAME", type=_game, help=f"one of: {', '.join(GAMES)}")
    seat = parser.add_mutually_exclusive_group()
    seat.add_argument("--first", dest="second", action="store_false", help="you move first (default)")
    seat.add_argument("--second", action="store_true", help="the search moves first")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="random seed of the search (default: 0)")
    known = ", ".join(SEARCHES)
    parser.add_argument("--search", type=_search, default="gumbel", help=f"one of: {known} (default: gumbel)")
    search, playouts = _settings(argv)
    parser.set_defaults(second=False, settings=(search, playouts))
    add_settings(parser, search, title="settings of the search")
    add_settings(parser, playouts, title="settings of the evaluation of positions")


def run(values: argparse.Namespace) -> int:
    """Play one game."""
    search, playouts = values.settings
    if search.home != SEARCHES[values.search]:
        raise UsageError("give --search once, before its settings")
    made = [settings.construct(given_settings(settings, values)) for settings in (search, playouts)]
    try:
        result = _play(values.game, made, you=int(values.second), seed=values.seed)
    except EOFError:  # Ctrl-D
        print()
        result = None
    print(result or f"You left the game of {game(values.game).title}.")
    return 0


def _play(name: str, made: list[Any], *, you: int, seed: int) -> str | None:
    """Play a whole game; returns its result, or None if the user quits."""
    import jax.random as jr

    from forethought.games.players import SearchPlayer
    from forethought.games.rules import load_rules

    search, playouts = made
    rules = load_rules(name)
    table = _Table(rules, SearchPlayer(search, playouts))
    stone, turn = rules.game.stones[1 + you], "second" if you else "first"
    print(f"{rules.game.title}: you are {stone} and move {turn}. To move, {rules.game.hint}; 'quit' or Ctrl-D leaves.")
    position, last, ply = rules.opening, None, 0
    while not bool(position.over):
        if int(position.mover) == you:
            print("\n" + table.draw(position, last))
            chosen = _ask(rules.game, position)
            if chosen is None:
                return None
            last = chosen
        else:
            last = table.think(position, jr.fold_in(jr.key(seed), ply))
        position, ply = table.play(position, last), ply + 1
    print("\n" + table.draw(position, last))
    won = float(position.outcome[you])
    return "You win." if won > 0 else "The search wins." if won < 0 else "A draw."


class _Table:
    """The compiled rules and search of a game."""

    def __init__(self, rules: "Rules", player: Any):
        import equinox as eqx

        self.rules = rules
        self._play = eqx.filter_jit(lambda rules, position, move: rules.play(position, move))
        self._choose = eqx.filter_jit(
            lambda rules, position, key: player.search.search(rules, position, player.evaluate, key=key)
        )
        self._cells = eqx.filter_jit(lambda rules, position: rules.cells(position))
        self._compiled = False

    def play(self, position: "Position", move: int) -> "Position":
        import jax.numpy as jnp

        return self._play(self.rules, position, jnp.asarray(move))

    def think(self, position: "Position", key: Any) -> int:
        """The search's move; prints it with the estimated chance of winning."""
        if not self._compiled:
            print("\n(compiling the search, once: up to a minute)", flush=True)
            self._compiled = True
        choice = self._choose(self.rules, position, key)
        chances = 50 * (1 + float(choice.value))
        move = self.rules.game.write(int(choice.move))
        print(f"\nThe search plays {move}; it estimates its chance of winning at {chances:.0f}%.")
        return int(choice.move)

    def draw(self, position: "Position", last: int | None) -> str:
        """Print the board, with the last stone in brackets."""
        cells = self._cells(self.rules, position).tolist()
        return self.rules.game.draw(cells, _cell(self.rules.game, cells, last))


def _cell(game: Game, cells: Sequence[int], move: int | None) -> int | None:
    """The cell of the stone of a move; None for a pass."""
    if move is None or game.notation != "column":
        return move
    return next(i for i in range(move, len(cells), game.columns) if cells[i])  # the uppermost stone of the column


def _ask(game: Game, position: "Position") -> int | None:
    """Read a legal move from the user; None means quit.

    Raises:
        EOFError: the input has ended.
    """
    legal = [i for i, allowed in enumerate(position.legal.tolist()) if allowed]
    if game.notation != "point":
        print("legal moves: " + " ".join(game.write(move) for move in legal))
    while True:
        word = input("your move: ").strip()
        if word.casefold() in LEAVE:
            return None
        try:
            move = game.read(word)
            if move in legal:
                return move
            raise UsageError(f"{game.write(move)} is not legal here; {_legal_hint(game, legal)}")
        except UsageError as problem:
            print(problem)
        sys.stdout.flush()


def _legal_hint(game: Game, legal: Sequence[int]) -> str:
    few = [game.write(move) for move in legal]
    return "legal: " + " ".join(few if len(few) <= 20 else [*few[:10], "...", few[-1]])


def _game(name: str) -> str:
    game(name)
    return name


def _search(name: str) -> str:
    if name not in SEARCHES:
        raise UsageError(f"unknown search '{name}'; {nearest(name, SEARCHES)}")
    return name


def _settings(argv: Sequence[str]) -> tuple[Settings, Settings]:
    """The settings of the requested search and of the playouts."""
    asked = [after for word, after in pairwise(argv) if word == "--search"]
    asked += [word.partition("=")[2] for word in argv if word.startswith("--search=")]
    name = asked[-1] if asked and asked[-1] in SEARCHES else "gumbel"
    return read_settings(SEARCHES[name]), read_settings("forethought.games.playouts:Playouts")
