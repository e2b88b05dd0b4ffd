import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import UsageError
from forethought.games import minimax
from forethought.games.all_replies import against_all_replies
from forethought.games.match import Hand, play_match
from forethought.games.players import OnePlyPlayer, RandomPlayer, TablePlayer

pytest.importorskip("pgx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def first_free():
    """Always the first free cell."""
    good = np.zeros((3**9, 9), bool)
    for board in minimax.positions():
        if 0 in board:
            good[minimax.number(board), board.index(0)] = True
    return TablePlayer(jnp.asarray(good))


def test_a_match_of_two_known_players(rules):
    """First free cell against itself: X gets 1, 3, 5, 7 and wins the diagonal 3-5-7 at the seventh move."""
    match = play_match(rules, first_free(), first_free(), 6, key=jr.key(0))
    assert (match.as_first, match.as_second) == ((3, 0, 0), (0, 0, 3))
    assert (match.games, match.won, match.drawn, match.score, match.plies) == (6, 3, 0, 3, 7)
    assert min(match.seconds) > 0


def test_compacting_the_batch_keeps_all_results(rules):
    """Games end at different plies, so batches shrink; every game has one result all the same."""
    match = play_match(rules, OnePlyPlayer(), RandomPlayer(), 64, key=jr.key(1), compact=True)
    assert match.games == 64
    assert match.score > 40 and 5 <= match.plies <= 9
    assert sum(match.as_first) == sum(match.as_second) == 32


def test_random_play_has_the_known_winning_probabilities(rules):
    """Random games: the first player wins 58.5 %, the second 28.8 %, by enumeration (128 of 315 etc.)."""
    match = play_match(rules, RandomPlayer(), RandomPlayer(), 2000, key=jr.key(2))
    won = (match.as_first[0] + match.as_second[2]) / 2000
    lost = (match.as_first[2] + match.as_second[0]) / 2000
    assert won == pytest.approx(0.585, abs=4 * 0.011)
    assert lost == pytest.approx(0.288, abs=4 * 0.0101)


def test_an_odd_number_of_games_is_refused(rules):
    with pytest.raises(UsageError, match="even"):
        play_match(rules, RandomPlayer(), RandomPlayer(), 3, key=jr.key(0))


@pytest.mark.parametrize("moves_first", [True, False])
def test_minimax_never_loses_and_others_do(rules, moves_first):
    perfect = Hand(rules, minimax.minimax_player())
    perfect = against_all_replies(perfect, moves_first=moves_first, batch=64, key=jr.key(0))
    assert perfect.lost == 0 < perfect.won
    other = against_all_replies(Hand(rules, first_free()), moves_first=moves_first, batch=64, key=jr.key(0))
    assert other.lost > 0


def test_all_lines_of_play_are_counted(rules):
    """Lines of play against the first free cell, by recursion over the rules of `minimax`."""

    def lines(board, ours):
        replies = minimax.replies(board)
        if not replies:
            return np.array([0, 1, 0]) if not minimax.won(board) else np.array([0, 0, 1] if ours else [1, 0, 0])
        moves = [board.index(0)] if ours else replies
        return sum(lines(replies[move], not ours) for move in moves)

    hand = Hand(rules, first_free())
    for first in (True, False):
        found = against_all_replies(hand, moves_first=first, batch=64, key=jr.key(0))
        assert [found.won, found.drawn, found.lost] == lines(minimax.EMPTY, first).tolist()
