"""The rules of pgx against rules written a second time, here or in `forethought.planning.minimax`."""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import UsageError
from forethought.dynamics.go import area, eyes
from forethought.dynamics.rules import load_rules
from forethought.planning import minimax

pytest.importorskip("pgx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tic_tac_toe():
    """The rules, and what they say of a sequence of 9 moves (-1 for none): the position, its board, and all replies."""
    rules = load_rules("tic-tac-toe")

    def look(moves):
        position = rules.replay(moves)
        after = jax.vmap(lambda move: rules.play(position, move))(jnp.arange(9))
        found = position.mover, position.legal, position.over, position.outcome, rules.cells(position)
        return (*found, after.over, after.outcome)

    look = jax.jit(jax.vmap(look))
    return lambda games: [np.asarray(fact) for fact in look(jnp.array(games))]


def moves_to(board):
    """An order of moves that leads to a Tic-tac-toe board, padded with -1."""
    moves = np.full(9, -1)
    for seat in (0, 1):
        cells = [i for i in range(9) if board[i] == seat + 1]
        moves[2 * np.arange(len(cells)) + seat] = cells
    return moves


def test_every_position_of_tic_tac_toe(tic_tac_toe):
    """5,478 positions: who is to move, legal moves, ends and outcomes, against rules written a second time.

    Those that are over are seen as replies to the others.
    """
    going = [board for board in minimax.positions() if minimax.replies(board)]
    assert (len(minimax.positions()), len(going)) == (5478, 4520)  # known counts
    mover, legal, ended, _, cells, over, outcome = tic_tac_toe([moves_to(board) for board in going])
    np.testing.assert_array_equal(cells, going)
    assert not ended.any()
    for i, board in enumerate(going):
        replies = minimax.replies(board)
        assert mover[i] == (9 - board.count(0)) % 2
        assert legal[i].tolist() == [move in replies for move in range(9)]
        for move, after in replies.items():
            assert over[i, move] == (not minimax.replies(after))
            won = -minimax.value(after) if over[i, move] else 0  # for the mover
            assert outcome[i, move].tolist() == ([won, -won] if mover[i] == 0 else [-won, won])


def test_tic_tac_toe_is_a_draw_and_known_replies_hold():
    assert minimax.value(minimax.EMPTY) == 0
    assert minimax.best_moves(minimax.EMPTY) == [True] * 9
    corner = minimax.replies(minimax.EMPTY)[0]
    assert [i for i, good in enumerate(minimax.best_moves(corner)) if good] == [4]  # only the centre holds


def test_the_end_lasts_and_an_illegal_move_loses(tic_tac_toe):
    won = [0, 3, 1, 4, 2, -1, -1, -1, -1]  # X takes the upper row
    again = [0, 0, -1, -1, -1, -1, -1, -1, -1]  # O plays where X is
    _, _, over, outcome, cells, over_later, outcome_later = tic_tac_toe([won, [*won[:5], 8, -1, -1, -1], again])
    assert over.all() and outcome.tolist() == [[1, -1]] * 3
    assert over_later.all() and (outcome_later == [1, -1]).all()
    np.testing.assert_array_equal(cells[0], cells[1])


GO_BOARD = """
. X O . . O . X .
X X O O O O X X X
O O O . . . X . X
. . . . . . X X X
. . . . . . . . .
. . . . . . . . .
. . . . . . . X .
. . . . . . X . X
. . . . . . . X .
"""


def go_board():
    signs = {"X": 1, "O": -1, ".": 0}
    return jnp.array([[signs[s] for s in line.split()] for line in GO_BOARD.strip().splitlines()])


def area_by_regions(board, colour):
    """Own stones, and regions of empty points that border own stones only; by a stack, point by point."""
    board = np.asarray(board)
    points, seen = int((board == colour).sum()), np.zeros(board.shape, bool)
    for start in zip(*np.nonzero(board == 0), strict=True):
        if seen[start]:
            continue
        stack, region, border = [start], 0, set()
        seen[start] = True
        while stack:
            r, c = stack.pop()
            region += 1
            for q in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if min(q) < 0 or max(q) >= len(board):
                    continue
                if board[q]:
                    border.add(int(board[q]))
                elif not seen[q]:
                    seen[q] = True
                    stack.append(q)
        points += region if border == {colour} else 0
    return points


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_area_is_that_of_a_flood_by_points(density):
    boards = [go_board(), -go_board()]
    chances = jnp.array([density / 2, density / 2, 1 - density])
    boards += [jr.choice(jr.key(seed), jnp.array([1, -1, 0]), (9, 9), p=chances) for seed in range(10)]
    black, white = jax.jit(jax.vmap(area))(jnp.stack(boards))
    assert black.tolist() == [area_by_regions(board, 1) for board in boards]
    assert white.tolist() == [area_by_regions(board, -1) for board in boards]


def test_eyes_are_whole_and_own():
    own, other = (np.argwhere(np.asarray(eyes(board))).tolist() for board in (go_board(), -go_board()))
    # (0, 6) touches O; the corner (8, 8) and its neighbour (7, 7) lean on each other, as diagonal eyes may
    assert own == [[0, 0], [0, 8], [2, 7], [7, 7], [8, 8]]
    assert other == []


@pytest.mark.slow
def test_score_is_what_pgx_counts_at_the_end_of_a_game():
    """After 30 random moves both pass, and pgx counts the board itself; in half of the games only black plays."""
    rules = load_rules("go-9x9")

    def game(white_passes, key):
        def step(position, inputs):
            ply, key = inputs
            stone = jr.categorical(key, jnp.where(position.legal, 0.0, -jnp.inf).at[81].set(-jnp.inf))
            after = rules.play(position, jnp.where((ply >= 30) | (white_passes & (ply % 2 == 1)), 81, stone))
            return after, (after.over, after.outcome, rules.judge(after), rules.sensible(after) & ~after.legal)

        return jax.lax.scan(step, rules.opening, (jnp.arange(32), jr.split(key, 32)))[1]

    games = jnp.arange(30) % 2 == 0, jr.split(jr.key(0), 30)
    over, outcome, judged, sensible_but_illegal = jax.jit(jax.vmap(game))(*games)
    counted = ~over[:, 29]  # not ended before by a repetition
    assert counted.sum() > 20 and over[:, 31].all() and not sensible_but_illegal.any()
    np.testing.assert_array_equal(outcome[counted, 31], judged[counted, 31])
    np.testing.assert_array_equal(judged[:, 29], judged[:, 31])  # passing changes no point
    assert set(judged[:, 31, 0].tolist()) == {1, -1}


def test_a_missing_extra_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgx", None)
    with pytest.raises(UsageError, match=r"pip install 'forethought\[games\]'"):
        load_rules("tic-tac-toe")
