"""Go on bit boards: captures, areas, and fast random games.

Notation
    rows        [N] of unsigned integers, bit c of row r is the point (r, c); a set of points is one such array
    own, other  stones of the player to move, and of the opponent;  empty: the other points
    liberty     an empty point beside a chain; a chain without one is captured
    area        of a player: own stones, and empty points from which no path of empty points leads to the opponent's
Shifting a few words visits the neighbors of all points at once, so random moves are much faster than with the full
rules of pgx.  Rules that random games do not need are omitted.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt

Rows = UInt[Array, "N"]


class Board(eqx.Module):
    """The position of a random game."""

    own: Rows  # of the player to move
    other: Rows
    ko: Rows  # the point at which the ko rule forbids recapture, if any


def pack(points: Bool[Array, "N N"]) -> Rows:
    """Points as rows of bits."""
    return jnp.sum(jnp.where(points, _bits(points.shape[0]), 0), axis=1, dtype=jnp.uint32)


def unpack(rows: Rows) -> Bool[Array, "N N"]:
    """Rows of bits as points."""
    return rows[:, None] & _bits(rows.shape[0]) > 0


def put(board: Board, stone: Rows) -> tuple[Board, Bool[Array, ""]]:
    """The board after a stone on an empty point, from the opponent's perspective, and whether the move is legal."""
    own, near_liberty = board.own | stone, beside(_full(stone) & ~(board.own | board.other | stone))
    living, theirs = (spread(stones & near_liberty, stones) for stones in (own, board.other))
    captured = board.other & ~theirs
    legal = (jnp.any(captured > 0) | jnp.any(living & stone > 0)) & ~jnp.any(stone & board.ko > 0)
    alone = jnp.all(beside(stone) & ~board.other == 0)
    ko = jnp.where(alone & (count(captured) == 1), captured, 0)
    return Board(board.other & ~captured, own, ko), legal


def eyes(own: Rows, other: Rows) -> Rows:
    """Empty points whose neighbors are all own stones, and that the opponent cannot turn into false eyes.

    The opponent may hold one of the four diagonal points, none at the edge of the board.
    """
    full = _full(own)
    inside = full.at[0].set(0).at[-1].set(0) & (full >> 1 & ~jnp.uint32(1))
    left, right, up, down = _left(own) | 1, _right(own) | (full ^ full >> 1), _up(own), _down(own)
    around = left & right & up.at[-1].set(full[0]) & down.at[0].set(full[0])
    a, b, c, d = _up(_left(other)), _up(_right(other)), _down(_left(other)), _down(_right(other))
    one, two = a | b | c | d, a & b | c & d | (a | b) & (c | d)
    return full & ~own & ~other & around & ~two & (~one | inside)


def area(own: Rows, other: Rows) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The area of each player; a neutral point belongs to neither."""
    empty = _full(own) & ~own & ~other
    reach_own, reach_other = (spread(empty & beside(stones), empty) for stones in (own, other))
    return count(own | empty & ~reach_other), count(other | empty & ~reach_own)


def random_game(
    board: Board, passes: Int[Array, ""], moves: int | Int[Array, ""], *, key: PRNGKeyArray
) -> tuple[Int[Array, ""], Int[Array, ""]]:
    """The areas of the player to move and of the opponent after at most `moves` random moves.

    Players do not fill own eyes, pass if no other point is left, and the game ends after two passes.
    Differs: positions may be repeated, except by immediate recapture of a single stone (simple ko).
    """
    none = jnp.zeros_like(board.own)

    def goes_on(carry):
        _, _, played, _, passes = carry
        return (played < moves) & (passes < 2)

    def step(carry):
        board, refused, played, tries, passes = carry  # refused: points that were illegal in this turn
        choices = _full(none) & ~(board.own | board.other | refused | board.ko | eyes(board.own, board.other))
        left = count(choices)
        stone = _nth(choices, jnp.floor(left * jr.uniform(jr.fold_in(key, tries))).astype(left.dtype))
        after, legal = put(board, stone)
        must_pass = left == 0
        moved = legal | must_pass
        passed = Board(board.other, board.own, none)
        board = _where(must_pass, passed, _where(legal, after, board))
        refused = jnp.where(moved, none, refused | stone)
        return board, refused, played + moved, tries + 1, jnp.where(must_pass, passes + 1, jnp.where(moved, 0, passes))

    start = board, none, jnp.array(0), jnp.array(0), passes
    board, _, played, _, _ = jax.lax.while_loop(goes_on, step, start)
    mover, waiting = area(board.own, board.other)
    even = played % 2 == 0  # the same player is to move as at the start
    return jnp.where(even, mover, waiting), jnp.where(even, waiting, mover)


def spread(start: Rows, within: Rows) -> Rows:
    """All points connected to `start` within the points `within`, which must include `start`."""

    def grow(carry):
        now, _ = carry
        wider = within & (now | beside(now))
        return wider, jnp.any(wider != now)

    return jax.lax.while_loop(lambda carry: carry[1], grow, (start, jnp.array(True)))[0]


def beside(points: Rows) -> Rows:
    """The points that have one of `points` as a neighbor."""
    return _left(points) | _right(points) | _up(points) | _down(points)


def count(points: Rows) -> Int[Array, ""]:
    """Number of points."""
    return jnp.sum(jax.lax.population_count(points).astype(jnp.int32))


def _nth(points: Rows, n: Int[Array, ""]) -> Rows:
    """The n-th of the points, from 0; empty if there are fewer."""
    bits = _bits(points.shape[0])
    rows = jax.lax.population_count(points).astype(jnp.int32)
    earlier_rows = jnp.cumsum(rows) - rows
    earlier_here = jax.lax.population_count(points[:, None] & (bits - 1)).astype(jnp.int32)
    hit = (points[:, None] & bits > 0) & (earlier_rows[:, None] + earlier_here == n)
    return pack(hit)


def _bits(size: int) -> UInt[Array, "1 N"]:
    """The bit of each column."""
    return (jnp.uint32(1) << jnp.arange(size, dtype=jnp.uint32))[None]


def _full(rows: Rows) -> Rows:
    """The whole board."""
    return jnp.full_like(rows, 2 ** rows.shape[0] - 1)


def _left(rows: Rows) -> Rows:
    """The points shifted by one column: every point sees its left neighbor."""
    return rows << 1 & _full(rows)


def _right(rows: Rows) -> Rows:
    return rows >> 1


def _up(rows: Rows) -> Rows:
    return jnp.concatenate([rows[1:], jnp.zeros_like(rows[:1])])


def _down(rows: Rows) -> Rows:
    return jnp.concatenate([jnp.zeros_like(rows[:1]), rows[:-1]])


def _where(condition: Bool[Array, ""], a: Board, b: Board) -> Board:
    return jax.tree.map(lambda one, other: jnp.where(condition, one, other), a, b)
