"""Tic-tac-toe by exhaustive search: the value of every position, and the moves that preserve it.

Notation: a board is a tuple of 9 cells: 0 empty, 1 and 2 the players' stones; player 1 moves first.  Values are 1, 0 or
-1 for the player to move.  The rules are implemented here independently, to test `forethought.games.rules`.
"""

from functools import cache

import jax.numpy as jnp
import numpy as np

from forethought.games.players import TablePlayer

Board = tuple[int, ...]
LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))
EMPTY: Board = (0,) * 9


def minimax_player() -> TablePlayer:
    """A perfect player of Tic-tac-toe; it picks uniformly among the best moves."""
    good = np.zeros((3**9, 9), bool)
    for board in positions():
        good[number(board)] = best_moves(board)
    return TablePlayer(jnp.asarray(good))


@cache
def value(board: Board) -> int:
    """The outcome that the player to move can force: 1, 0 or -1."""
    if won(board):  # by the one who has just moved
        return -1
    return max((-value(after) for after in replies(board).values()), default=0)


def best_moves(board: Board) -> list[bool]:
    """The moves, out of 9, that preserve the value of the position; none if the game is over."""
    after = replies(board)
    return [move in after and -value(after[move]) == value(board) for move in range(9)]


def replies(board: Board) -> dict[int, Board]:
    """The board after each legal move; empty if the game is over."""
    if won(board):
        return {}
    stone = 1 + (9 - board.count(0)) % 2
    return {i: (*board[:i], stone, *board[i + 1 :]) for i in range(9) if not board[i]}


def won(board: Board) -> bool:
    """Whether a player has three in a row."""
    return any(board[a] and board[a] == board[b] == board[c] for a, b, c in LINES)


def number(board: Board) -> int:
    """The board as a number in base 3; the first cell is the last digit."""
    return sum(cell * 3**i for i, cell in enumerate(board))


@cache
def positions() -> tuple[Board, ...]:
    """Every reachable board, the empty one first."""
    seen = {EMPTY: None}
    frontier = [EMPTY]
    while frontier:
        frontier = [after for board in frontier for after in replies(board).values() if after not in seen]
        frontier = list(dict.fromkeys(frontier))
        seen |= dict.fromkeys(frontier)
    return tuple(seen)


def decisions() -> tuple[Board, ...]:
    """Positions in which some move is a mistake; only one of all its mirror images and rotations."""
    return tuple(sorted({min(_images(board)) for board in positions() if _may_err(board)}))


def line_to(board: Board) -> list[int]:
    """Moves that lead to a board, padded with -1 to length 9."""
    moves = [-1] * 9
    for stone in (1, 2):
        for i, cell in enumerate(cell for cell in range(9) if board[cell] == stone):
            moves[2 * i + stone - 1] = cell
    return moves


def _may_err(board: Board) -> bool:
    return 0 < sum(best_moves(board)) < board.count(0)


def _images(board: Board) -> list[Board]:
    turned = [np.rot90(np.reshape(board, (3, 3)), k) for k in range(4)]
    return [tuple(image.ravel().tolist()) for one in turned for image in (one, one.T)]
