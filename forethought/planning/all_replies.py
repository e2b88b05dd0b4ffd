"""Every game that a player can get into: at each of the opponent's turns, all legal replies are tried.

Feasible for games as small as Tic-tac-toe, where it tells what no number of sampled games can: that a player, with
these random numbers, cannot be beaten by anybody.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import PRNGKeyArray

from forethought.dynamics.rules import Position, Rules
from forethought.planning.match import Hand


@dataclass(frozen=True)
class Lines:
    """How all lines of play ended for the player."""

    won: int
    drawn: int
    lost: int


def against_all_replies(hand: Hand, *, moves_first: bool, batch: int = 192, key: PRNGKeyArray) -> Lines:
    """Count the lines of play that end in a win, a draw and a loss for the player at work.

    Args:
        hand: the player, which makes one move in each position that it gets into, and the game.
        moves_first: whether it moves first.
        batch: positions looked at together; the player is compiled once for it.
        key: of everything random.
    """
    rules, seat = hand.rules, 0 if moves_first else 1
    ended = {1: 0, 0: 0, -1: 0}
    positions = jax.tree.map(lambda leaf: leaf[None], rules.opening)
    if not moves_first:
        positions = _all_moves(rules, positions)
    while (count := positions.over.shape[0]) > 0:
        key, now = jr.split(key)
        after = [_answer(hand, _take(positions, i, batch), jr.fold_in(now, i)) for i in range(0, count, batch)]
        positions = jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:count], *after)
        positions = _settle(positions, seat, ended)
        if positions.over.shape[0]:
            positions = _settle(_all_moves(rules, positions), seat, ended)
    return Lines(ended[1], ended[0], ended[-1])


def _take(positions: Position, start: int, batch: int) -> Position:
    """`batch` positions from `start` on, the last one repeated where there are fewer."""
    indices = jnp.minimum(jnp.arange(start, start + batch), positions.over.shape[0] - 1)
    return jax.tree.map(lambda leaf: leaf[indices], positions)


def _answer(hand: Hand, positions: Position, key: PRNGKeyArray) -> Position:
    return _play(hand.rules, positions, hand.choose(positions, jr.split(key, positions.over.shape[0])))


def _all_moves(rules: Rules, positions: Position) -> Position:
    """The positions after every legal move."""
    rows, moves = jnp.nonzero(positions.legal)
    return _play(rules, jax.tree.map(lambda leaf: leaf[rows], positions), moves)


def _settle(positions: Position, seat: int, ended: dict[int, int]) -> Position:
    """Count the games that are over; the others are left."""
    over = positions.over
    for result in positions.outcome[over, seat].tolist():
        ended[round(result)] += 1
    return jax.tree.map(lambda leaf: leaf[~over], positions)


@eqx.filter_jit
def _play(rules: Rules, positions: Position, moves: jax.Array) -> Position:
    return jax.vmap(rules.play)(positions, moves)
