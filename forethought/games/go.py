"""Knowledge of Go beyond its rules: the score of a position, useless moves, and fast random games."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.games.go_board import Board, area, eyes, pack, random_game, unpack


class Go(eqx.Module):
    """Area scoring as in pgx; filling an own eye and passing early are useless moves."""

    size: int = 9  # points along an edge
    komi: float = 7.5  # points

    def score(self, state: Any) -> Float[Array, "2"]:
        """1 for the player with more points, -1 for the other."""
        board = self.board(state)
        return self._verdict(*area(board.own, board.other), state._x.color)

    def pointless(self, state: Any) -> Bool[Array, "A"]:
        """Moves that fill an own eye; and passing, unless it ends the game or no other move is left."""
        board = self.board(state)
        bad = unpack(eyes(board.own, board.other)).ravel()
        left = jnp.any(state.legal_action_mask[:-1] & ~bad)
        return jnp.append(bad, left & (state._x.consecutive_pass_count == 0))

    def random_game(self, state: Any, moves: int, *, key: PRNGKeyArray) -> Float[Array, "2"]:
        """The score after at most `moves` random moves; of the position itself if the game is over."""
        over = state.terminated | state.truncated
        passes = jnp.where(over, 2, state._x.consecutive_pass_count)
        return self._verdict(*random_game(self.board(state), passes, moves, key=key), state._x.color)

    def board(self, state: Any) -> Board:
        """The stones of both players, from pgx's board, which stores signed numbers of chains."""
        signs = jnp.sign(state._x.board).reshape(self.size, self.size) * (1 - 2 * state._x.color)
        ko = (jnp.arange(self.size**2) == state._x.ko).reshape(self.size, self.size)
        return Board(pack(signs > 0), pack(signs < 0), pack(ko))

    def _verdict(self, own: Int[Array, ""], other: Int[Array, ""], color: Int[Array, ""]) -> Float[Array, "2"]:
        """The score of both players; `own` is the area of the player to move, black if `color` is 0."""
        lead = jnp.where(color == 0, own - other, other - own) > self.komi
        black = jnp.where(lead, 1.0, -1.0)
        return jnp.stack([black, -black])
