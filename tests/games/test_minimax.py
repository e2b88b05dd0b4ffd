"""The players that look their moves up or look one move ahead, and the choice that all of them share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.games import minimax
from forethought.games.players import MonteCarloPlayer, OnePlyPlayer, RandomPlayer
from forethought.games.playouts import pick

pytest.importorskip("pgx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# X has cells 1 and 2 and wins with 3; O has 4 and 5 and would win with 6.
FORK = [0, 3, 1, 4]


@eqx.filter_jit
def chosen(rules, player, moves, keys):
    position = rules.replay(moves)
    return jax.vmap(lambda key: player.choose(rules, position, key=key))(keys)


def choices(rules, player, moves, count=100):
    """What a player chooses after these moves, with `count` keys; the moves are padded, so one program serves all."""
    padded = jnp.array([*moves, *[-1] * (9 - len(moves))])
    return np.asarray(chosen(rules, player, padded, jr.split(jr.key(0), count)))


def test_pick_is_uniform_over_the_mask():
    mask = jnp.array([False, True, False, True, True])
    found = np.bincount(jax.vmap(lambda key: pick(mask, key=key))(jr.split(jr.key(0), 3000)), minlength=5)
    assert found[[0, 2]].sum() == 0
    assert (abs(found[[1, 3, 4]] - 1000) < 5 * np.sqrt(3000 * 2 / 9)).all()


def test_random_moves_are_legal_and_cover_all_legal_moves(rules):
    assert set(choices(rules, RandomPlayer(), FORK, 200)) == {2, 5, 6, 7, 8}


def test_one_ply_wins_at_once_and_ignores_threats(rules):
    assert set(choices(rules, OnePlyPlayer(), FORK)) == {2}
    assert len(set(choices(rules, OnePlyPlayer(), [0, 3, 8, 4], 60))) > 1  # nothing to win: anything


def test_monte_carlo_wins_at_once(rules):
    assert set(choices(rules, MonteCarloPlayer(simulations=50, depth=9), FORK, 20)) == {2}


def test_the_minimax_player_preserves_the_value(rules):
    player = minimax.minimax_player()
    for moves in ([0], [0, 4, 8], FORK, [4]):
        board = list(minimax.EMPTY)
        for ply, move in enumerate(moves):
            board[move] = 1 + ply % 2
        good = {move for move, is_good in enumerate(minimax.best_moves(tuple(board))) if is_good}
        assert set(choices(rules, player, moves)) == good


def test_positions_in_which_a_move_may_be_a_mistake():
    """3,191 positions, 431 up to symmetry; every one has a good and a bad move."""
    assert len(minimax.decisions()) == 431
    for board in minimax.decisions():
        assert 0 < sum(minimax.best_moves(board)) < board.count(0)
    assert minimax.EMPTY not in minimax.decisions()  # every first move holds the draw
