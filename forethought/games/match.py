"""Matches: many games between two players in a batch; each player moves first in half of the games.

The two halves of the games are one ply apart: while one player moves in one half, the other player moves in the other
half, and then they swap.  Each player is therefore evaluated only in positions in which it is to move.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from forethought.core import UsageError
from forethought.games.players import Player
from forethought.games.rules import Position, Rules


@dataclass(frozen=True)
class Match:
    """Results of player `a` against player `b`."""

    as_first: tuple[int, int, int]  # games won, drawn and lost by `a` when it moved first
    as_second: tuple[int, int, int]  # the same when it moved second
    plies: float  # mean number of moves in a game, both players together
    seconds: tuple[float, float]  # processor time per move of `a` and `b`, without compilation

    @property
    def games(self) -> int:
        """Number of games."""
        return sum(self.as_first) + sum(self.as_second)

    @property
    def won(self) -> int:
        """Games that `a` won."""
        return self.as_first[0] + self.as_second[0]

    @property
    def drawn(self) -> int:
        """Number of drawn games."""
        return self.as_first[1] + self.as_second[1]

    @property
    def score(self) -> float:
        """Points of `a`: a win counts one, a draw a half."""
        return self.won + self.drawn / 2


def play_match(
    rules: Rules,
    a: "Player | Hand",
    b: "Player | Hand",
    games: int,
    *,
    key: PRNGKeyArray,
    compact: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Match:
    """Let `a` and `b` play, each moving first in half of the games.

    Args:
        rules: the game.
        a: one player; a `Hand` is reused in the next match without recompilation.
        b: the other player.
        games: number of games, even.
        key: random key of all moves.
        compact: remove finished games from the batch when three quarters are finished; this recompiles.
        progress: called after each ply with its number and the number of finished games.

    Raises:
        UsageError: the number of games is odd or not positive.
    """
    if games < 2 or games % 2:
        raise UsageError(f"a match needs an even number of games, at least 2; got {games}.")
    half = _Half(rules, games // 2)
    hands = [one if isinstance(one, Hand) else Hand(rules, one) for one in (a, b)]
    tables = [half, _Half(rules, games // 2)]  # tables[0]: where hands[0] is to move
    ply = 0
    while not all(table.done for table in tables):
        for side, (hand, table) in enumerate(zip(hands, tables, strict=True)):
            table.move(hand, jr.fold_in(jr.fold_in(key, ply), side))
        tables.reverse()
        ply += 1
        if compact:
            for table in tables:
                table.compact()
        if progress:
            progress(ply, sum(int(table.over.sum()) for table in tables))
    first, second = half, next(table for table in tables if table is not half)
    return Match(
        as_first=_count(first.results[:, 0]),
        as_second=_count(second.results[:, 1]),
        plies=float(np.mean([first.plies, second.plies])),
        seconds=(hands[0].seconds_per_move, hands[1].seconds_per_move),
    )


class Hand:
    """A player that chooses moves for a batch of positions, compiled once per batch size, and measures its time."""

    def __init__(self, rules: Rules, player: Player):
        def choose(rules: Rules, positions: Position, keys: Key[Array, "B"]) -> Any:
            return jax.vmap(lambda position, key: player.choose(rules, position, key=key))(positions, keys)

        self.rules, self.player = rules, player
        self._choose: Any = eqx.filter_jit(choose)
        self._compiled: dict[int, Any] = {}  # compiled functions by batch size
        self._spent, self._moves = 0.0, 0

    def choose(self, positions: Position, keys: Key[Array, "B"]) -> Any:
        """A move in each position."""
        size = keys.shape[0]
        if size not in self._compiled:
            self._compiled[size] = self._choose.lower(self.rules, positions, keys).compile()
        start = time.process_time()
        moves = jax.block_until_ready(self._compiled[size](self.rules, positions, keys))
        self._spent += time.process_time() - start
        self._moves += size
        return moves

    @property
    def seconds_per_move(self) -> float:
        """Mean processor time per move."""
        return self._spent / max(self._moves, 1)


class _Half:
    """The games in which the same player moves first."""

    def __init__(self, rules: Rules, games: int):
        self.rules = rules
        self.positions = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (games, *leaf.shape)), rules.opening)
        self.games = np.arange(games)  # indices of the games still in the batch
        self.results = np.zeros((games, 2))
        self.over = np.zeros(games, bool)
        self.lengths = np.zeros(games, int)

    @property
    def done(self) -> bool:
        return bool(self.over.all())

    @property
    def plies(self) -> float:
        return float(self.lengths.mean())

    def move(self, hand: Hand, key: PRNGKeyArray) -> None:
        """Play one ply in all games."""
        if self.done:
            return
        moves = hand.choose(self.positions, jr.split(key, len(self.games)))
        self.positions = _play(self.rules, self.positions, moves)
        self.lengths[self.games] += ~self.over[self.games]
        self.over[self.games] = np.asarray(self.positions.over)
        self.results[self.games] = np.asarray(self.positions.outcome)

    def compact(self) -> None:
        """Reduce the batch to a quarter if that holds all unfinished games."""
        going = np.flatnonzero(~self.over[self.games])
        size = len(self.games) // 4
        if self.done or len(going) > size:
            return
        keep = np.concatenate([going, np.flatnonzero(self.over[self.games])])[:size]
        self.positions = jax.tree.map(lambda leaf: leaf[keep], self.positions)
        self.games = self.games[keep]


@eqx.filter_jit
def _play(rules: Rules, positions: Position, moves: Any) -> Position:
    return jax.vmap(rules.play)(positions, moves)


def _count(results: np.ndarray) -> tuple[int, int, int]:
    return int((results > 0).sum()), int((results == 0).sum()), int((results < 0).sum())
