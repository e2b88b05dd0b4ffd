"""The rules of pgx against rules written a second time, here or in `forethought.games.minimax`."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import UsageError
from forethought.games import minimax
from forethought.games.rules import load_rules

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


def test_every_position_of_tic_tac_toe(tic_tac_toe):
    """5,478 positions: who is to move, legal moves, ends and outcomes, against rules written a second time.

    Those that are over are seen as replies to the others.
    """
    going = [board for board in minimax.positions() if minimax.replies(board)]
    assert (len(minimax.positions()), len(going)) == (5478, 4520)  # known counts
    mover, legal, ended, _, cells, over, outcome = tic_tac_toe([minimax.line_to(board) for board in going])
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
    assert [i for i, good in enumerate(minimax.best_moves(corner)) if good] == [4]  # only the center holds


def test_finished_games_do_not_change_and_illegal_moves_lose(tic_tac_toe):
    won = [0, 3, 1, 4, 2, -1, -1, -1, -1]  # X takes the upper row
    again = [0, 0, -1, -1, -1, -1, -1, -1, -1]  # O plays where X is
    _, _, over, outcome, cells, over_later, outcome_later = tic_tac_toe([won, [*won[:5], 8, -1, -1, -1], again])
    assert over.all() and outcome.tolist() == [[1, -1]] * 3
    assert over_later.all() and (outcome_later == [1, -1]).all()
    np.testing.assert_array_equal(cells[0], cells[1])


def test_a_missing_extra_is_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pgx", None)
    with pytest.raises(UsageError, match=r"pip install 'forethought\[games\]'"):
        load_rules("tic-tac-toe")
