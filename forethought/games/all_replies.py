"""Exhaustive test of a player: at each of the opponent's turns, all legal replies are tried.

Feasible for games as small as Tic-tac-toe.  Unlike sampled games, it proves that the player cannot be beaten, given its
random numbers.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from forethought.games.match import Hand
from forethought.games.rules import Position, Rules


@dataclass(frozen=True)
class Lines:
    """The number of lines of play that the player won, drew and lost."""

    won: int
    drawn: int
    lost: int


def against_all_replies(hand: Hand, *, moves_first: bool, batch: int = 48, key: PRNGKeyArray) -> Lines:
    """Count the lines of play that end in a win, a draw and a loss for the player.

    Args:
        hand: the game and the player, which makes one move in each position that it reaches.
        moves_first: whether the player moves first.
        batch: number of positions per batch; the player is compiled once, for this size.
        key: random key of the player.
    """
    seat = 0 if moves_first else 1
    ended = {1: 0, 0: 0, -1: 0}
    positions = jax.tree.map(lambda leaf: np.asarray(leaf)[None], hand.rules.opening)
    if not moves_first:
        positions = _all_moves(hand.rules, positions, batch)
    while (count := len(positions.over)) > 0:
        key, now = jr.split(key)
        moves = [_choose(hand, _rows(positions, rows), jr.fold_in(now, rows[0])) for rows in _batches(count, batch)]
        positions = _settle(_play(hand.rules, positions, np.concatenate(moves)[:count], batch), seat, ended)
        positions = _settle(_all_moves(hand.rules, positions, batch), seat, ended)
    return Lines(ended[1], ended[0], ended[-1])


def _batches(count: int, batch: int) -> list[np.ndarray]:
    """The numbers below `count` in batches of equal size; the last batch is filled by repeating the last number."""
    return [np.minimum(np.arange(start, start + batch), count - 1) for start in range(0, count, batch)]


def _rows(positions: Position, rows: np.ndarray) -> Position:
    return jax.tree.map(lambda leaf: leaf[rows], positions)


def _choose(hand: Hand, positions: Position, key: PRNGKeyArray) -> np.ndarray:
    return np.asarray(hand.choose(positions, jr.split(key, len(positions.over))))


def _all_moves(rules: Rules, positions: Position, batch: int) -> Position:
    """The positions after every legal move."""
    rows, moves = np.nonzero(positions.legal)
    return _play(rules, _rows(positions, rows), moves, batch)


def _settle(positions: Position, seat: int, ended: dict[int, int]) -> Position:
    """Count the finished games; return the others."""
    over = np.asarray(positions.over)
    for result in positions.outcome[over, seat].tolist():
        ended[round(result)] += 1
    return _rows(positions, ~over)


def _play(rules: Rules, positions: Position, moves: np.ndarray, batch: int) -> Position:
    """The positions after one move in each, in batches of equal size, so that the function is compiled once."""
    count = len(moves)
    if count == 0:
        return positions
    parts = [_play_batch(rules, _rows(positions, rows), moves[rows]) for rows in _batches(count, batch)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts)


@eqx.filter_jit
def _play_batch(rules: Rules, positions: Position, moves: np.ndarray | Array) -> Position:
    return jax.vmap(rules.play)(positions, jnp.asarray(moves))
