"""The games of the library: names, boards and notation.  This module imports no large package.

A board has `rows` x `columns` cells, numbered from 0 by rows from the top left; a cell is 0 (empty), 1 (a stone of the
player who moved first) or 2 (of the other).  A move is a number in [0, moves).
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forethought.core.errors import UsageError, nearest

Notation = Literal["cell", "column", "point"]
LETTERS = string.ascii_uppercase.replace("I", "")  # Go does not use the letter I
PASS = "pass"


@dataclass(frozen=True)
class Game:
    """Description of a game: its board, and how moves are written."""

    title: str  # name as displayed
    about: str  # one line
    pgx_id: str  # name in pgx
    rows: int  # of the board
    columns: int  # of the board
    notation: Notation  # a move is written as the number of a cell, the number of a column, or a point such as C3
    stones: str  # characters for an empty cell, and for stones of the first and the second player
    knowledge: str = ""  # "module:class" in forethought.games: the score, and moves that are never useful

    @property
    def moves(self) -> int:
        """Number of moves, legal or not."""
        if self.notation == "column":
            return self.columns
        return self.rows * self.columns + (self.notation == "point")

    def write(self, move: int) -> str:
        """A move in the game's notation."""
        if self.notation != "point":
            return str(move + 1)
        if move == self.rows * self.columns:
            return PASS
        row, column = divmod(move, self.columns)
        return f"{LETTERS[column]}{self.rows - row}"

    def read(self, word: str) -> int:
        """The number of a move in the game's notation.

        Raises:
            UsageError: it is not a move of this game.
        """
        known = {self.write(move).casefold(): move for move in range(self.moves)}
        if word.casefold() not in known:
            raise UsageError(f"'{word}' is not a move; {self.hint}")
        return known[word.casefold()]

    @property
    def hint(self) -> str:
        """How to write a move."""
        if self.notation == "point":
            return f"write a point such as {self.write(self.columns + 2)}, or {PASS}"
        return f"write a {self.notation} from 1 to {self.moves}"

    def draw(self, cells: Sequence[int], last: int | None = None) -> str:
        """The board as text, with the cell `last` in brackets."""
        lines = [self._line(row, cells, last) for row in range(self.rows)]
        if self.notation == "cell":
            return "\n".join(lines)
        names = LETTERS if self.notation == "point" else [str(i + 1) for i in range(self.columns)]
        margin = "   " if self.notation == "point" else ""
        return "\n".join([*lines, margin + "".join(f" {names[i]} " for i in range(self.columns)).rstrip()])

    def _line(self, row: int, cells: Sequence[int], last: int | None) -> str:
        numbers = range(row * self.columns, (row + 1) * self.columns)
        signs = [(self.stones[int(cells[i])], i) for i in numbers]
        if self.notation == "cell":  # an empty cell shows its number
            signs = [(str(i + 1) if not cells[i] else sign, i) for sign, i in signs]
        body = "".join(f"[{sign}]" if i == last else f" {sign} " for sign, i in signs)
        return (f"{self.rows - row:2} " if self.notation == "point" else "") + body.rstrip()


GAMES = {
    "tic-tac-toe": Game(
        "Tic-tac-toe", "three in a row on a 3 x 3 board", "tic_tac_toe", 3, 3, notation="cell", stones=".XO"
    ),
    "connect-four": Game(
        "Connect Four", "four in a row, stones fall in 7 columns", "connect_four", 6, 7, notation="column", stones=".XO"
    ),
    "go-9x9": Game(
        "Go 9x9",
        "area scoring, komi 7.5 for the second player",
        "go_9x9",
        9,
        9,
        notation="point",
        stones=".XO",
        knowledge="go:Go",
    ),
}


def game(name: str) -> Game:
    """The game of that name.

    Raises:
        UsageError: there is no game of that name.
    """
    if name not in GAMES:
        raise UsageError(f"unknown game '{name}'; {nearest(name, GAMES)}")
    return GAMES[name]
