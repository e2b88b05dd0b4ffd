"""What is known of Go beyond its rules: who owns how much of the board, and which moves ruin one's own eyes.

Notation
    board   [N N], 1 for a stone of player 0 (black), -1 for one of player 1 (white), 0 for an empty point
    area    of a player: own stones, and empty points from which no path of empty points leads to a stone of the other
    komi    what white is given for moving second
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Points = Bool[Array, "N N"]


class Go(eqx.Module):
    """Area scoring as pgx counts it, and the eyes that nobody should fill."""

    size: int = 9  # points along an edge
    komi: float = 7.5  # points

    def board(self, state: Any) -> Int[Array, "N N"]:
        """Signs of the stones, from pgx's own board, which holds chains as signed numbers."""
        return jnp.sign(state._x.board).reshape(self.size, self.size)

    def score(self, state: Any) -> Float[Array, "2"]:
        """1 for the player with more points, -1 for the other."""
        black, white = area(self.board(state))
        lead = jnp.where(black > white + self.komi, 1.0, -1.0)
        return jnp.stack([lead, -lead])

    def pointless(self, state: Any) -> Bool[Array, "A"]:
        """Own eyes of the player to move; passing is never pointless."""
        sign = 1 - 2 * state._x.color
        return jnp.append(eyes(self.board(state) * sign).ravel(), False)

    def last_resort(self) -> int:
        """Passing."""
        return self.size**2


def area(board: Int[Array, "N N"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The points of black and of white; a neutral point counts for neither."""

    def points(own: Points, other: Points) -> Int[Array, ""]:
        empty = ~own & ~other

        def spread(grown):
            reach, _ = grown
            wider = other | (empty & beside(reach))
            return wider, jnp.any(wider & ~reach)

        reach, _ = jax.lax.while_loop(lambda grown: grown[1], spread, (other, jnp.array(True)))
        return jnp.sum(own | (empty & ~reach))

    return points(board > 0, board < 0), points(board < 0, board > 0)


def eyes(board: Int[Array, "N N"]) -> Points:
    """Empty points whose neighbours are all own (positive), and whose corners the opponent cannot take.

    He may hold one of four diagonal points, none at the edge.
    """
    wall = jnp.pad(board, 1, constant_values=2)  # the edge is as good as an own stone beside, no stone at a corner
    around = jnp.stack([wall[:-2, 1:-1], wall[2:, 1:-1], wall[1:-1, :-2], wall[1:-1, 2:]])
    corners = jnp.stack([wall[:-2, :-2], wall[:-2, 2:], wall[2:, :-2], wall[2:, 2:]])
    hostile = jnp.sum(corners == -1, axis=0) + jnp.any(corners == 2, axis=0)
    return (board == 0) & jnp.all(around > 0, axis=0) & (hostile < 2)


def beside(points: Points) -> Points:
    """The points that have one of `points` as a neighbour."""
    wide = jnp.pad(points, 1)
    return wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
