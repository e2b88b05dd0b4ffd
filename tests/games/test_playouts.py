"""Random games against the exact expectation of random play, and the evaluations made from them."""

from functools import cache

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.games import minimax
from forethought.games.evaluation import NEVER, ValueFunction
from forethought.games.playouts import Playouts, playout

pytest.importorskip("pgx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SEQUENCES = [[], [0], [4], [0, 4], [0, 4, 8], [0, 3, 1, 4], [0, 3, 1, 4, 8]]


@cache
def expected(board):
    """Chances of player 0 and 1 to win when both move at random from a board of `minimax`."""
    replies = minimax.replies(board)
    if replies:
        return sum(np.array(expected(after)) for after in replies.values()) / len(replies)
    if not minimax.won(board):
        return np.zeros(2)
    return np.array([0, 1]) if board.count(0) % 2 else np.array([1, 0])  # who has just moved


def board_after(moves):
    board = list(minimax.EMPTY)
    for ply, move in enumerate(moves):
        board[move] = 1 + ply % 2
    return tuple(board)


def padded(sequences):
    return jnp.array([[*moves, *[-1] * (9 - len(moves))] for moves in sequences])


def test_playouts_have_the_mean_of_random_play(rules):
    games = 1500

    def results(moves, key):
        position = rules.replay(moves)
        return jax.vmap(lambda key: playout(rules, position, 9, key=key))(jr.split(key, games))

    found = jax.jit(jax.vmap(results))(padded(SEQUENCES), jr.split(jr.key(0), len(SEQUENCES)))
    np.testing.assert_array_equal(found.sum(axis=-1), 0)
    for result, moves in zip(found, SEQUENCES, strict=True):
        chances = expected(board_after(moves))
        assert result[:, 0].mean() == pytest.approx(chances[0] - chances[1], abs=5 / np.sqrt(games))


def test_a_stopped_game_without_a_score_is_a_draw(rules):
    assert playout(rules, rules.opening, 4, key=jr.key(0)).tolist() == [0, 0]  # nobody has three stones yet


def test_values_are_for_the_player_to_move(rules):
    """X has 1 and 2 and wins with 3, O has 4 and 5 and wins with 6: whoever is to move has won."""
    sequences = [[0, 3, 1, 4], [0, 3, 1, 4, 8], [0, 3, 1, 4, 2]]

    def evaluate(moves, key):
        return Playouts(playouts=8, depth=9)(rules, rules.replay(moves), key=key)

    found = jax.jit(jax.vmap(evaluate))(padded(sequences), jr.split(jr.key(0), 3))
    assert found.value.tolist() == [1, 1, -1]  # the third is over: O is to move and has lost
    wins = [[i for i, logit in enumerate(logits) if logit == 0] for logits in found.prior_logits.tolist()]
    assert wins[:2] == [[2], [5]]


def test_a_value_function_gets_the_observation_of_pgx(rules):
    """The observation's first plane has the stones of the player to move."""

    def function(observation):
        own, other = observation[..., 0].sum(), observation[..., 1].sum()
        return jnp.arange(9.0), (own - other) / 9

    found = ValueFunction(function)(rules, rules.replay(jnp.array([0, 4, 8])), key=jr.key(0))
    assert float(found.value) == pytest.approx(-1 / 9)  # O to move, X has one more
    assert [float(v) for v in found.prior_logits] == [NEVER, 1, 2, 3, NEVER, 5, 6, 7, NEVER]


@pytest.mark.parametrize("settings", [{"playouts": 0}, {"depth": 0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValueError, match="at least 1"):
        Playouts(**settings)
