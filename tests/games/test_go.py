"""Go on rows of bits against floods by points, positions drawn by hand, and the rules of pgx."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.games.go_board import Board, area, count, eyes, pack, put, random_game, unpack
from forethought.games.rules import load_rules

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

GO_BOARD = """
. X O . . O . X .
X X O O O O X X X
O O O . . . X . X
. . . . . . X X X
. . . . . . . . .
. . . . . . . . .
. . . . . . . X .
. . . . . . X . X
. . . . . . . X .
"""


def read(text):
    """A board as signs, 1 for X and -1 for O."""
    signs = {"X": 1, "O": -1, ".": 0}
    return jnp.array([[signs[s] for s in line.split()] for line in text.strip().splitlines()])


def area_by_regions(board, color):
    """Own stones, and regions of empty points that border own stones only; by a stack, point by point."""
    board = np.asarray(board)
    points, seen = int((board == color).sum()), np.zeros(board.shape, bool)
    for start in zip(*np.nonzero(board == 0), strict=True):
        if seen[start]:
            continue
        stack, region, border = [start], 0, set()
        seen[start] = True
        while stack:
            r, c = stack.pop()
            region += 1
            for q in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
                if min(q) < 0 or max(q) >= len(board):
                    continue
                if board[q]:
                    border.add(int(board[q]))
                elif not seen[q]:
                    seen[q] = True
                    stack.append(q)
        points += region if border == {color} else 0
    return points


def stones(board):
    """Rows of X and of O."""
    return pack(board > 0), pack(board < 0)


def test_points_are_packed_and_unpacked():
    points = jr.bernoulli(jr.key(0), shape=(9, 9))
    np.testing.assert_array_equal(unpack(pack(points)), points)
    assert count(pack(points)) == points.sum()
    assert pack(points)[2] == sum(2**c for c in range(9) if points[2, c])


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_area_equals_a_flood_fill(density):
    boards = [read(GO_BOARD), -read(GO_BOARD)]
    chances = jnp.array([density / 2, density / 2, 1 - density])
    boards += [jr.choice(jr.key(seed), jnp.array([1, -1, 0]), (9, 9), p=chances) for seed in range(10)]
    black, white = jax.jit(jax.vmap(lambda board: area(*stones(board))))(jnp.stack(boards))
    assert black.tolist() == [area_by_regions(board, 1) for board in boards]
    assert white.tolist() == [area_by_regions(board, -1) for board in boards]


def test_eyes():
    own, other = stones(read(GO_BOARD))
    found = [np.argwhere(unpack(eyes(*pair))).tolist() for pair in ((own, other), (other, own))]
    # (0, 6) touches O; the corner (8, 8) and its neighbor (7, 7) lean on each other, as diagonal eyes may
    assert found == [[[0, 0], [0, 8], [2, 7], [7, 7], [8, 8]], []]


TACTICS = """
. X O . X O . . .
X . X . . X . . .
O X . . . . . . .
. . . . . X . . .
X X . . X O X . .
O O X . X O X . .
. O X . . . . . .
O O X . . . X X X
. O X . . . X O .
"""


@pytest.mark.parametrize(
    ("point", "sign", "legal", "taken"),
    [
        ((0, 0), -1, False, []),  # suicide of one stone
        ((0, 0), 1, True, []),  # filling one's own eye is allowed
        ((1, 1), -1, False, []),  # suicide in the middle
        ((6, 5), 1, True, [(4, 5), (5, 5)]),  # the last liberty of two stones
        ((6, 5), -1, True, []),  # which save themselves
        ((6, 0), 1, False, []),  # a liberty of six stones that have one more: nothing is taken
        ((8, 8), 1, True, [(8, 7)]),
        ((8, 8), -1, False, []),  # suicide of two
    ],
)
def test_chains_without_liberty_are_captured(point, sign, legal, taken):
    board = read(TACTICS)
    own, other = stones(board * sign)
    after, allowed = put(Board(own, other, jnp.zeros_like(own)), pack(jnp.zeros((9, 9), bool).at[point].set(True)))
    assert allowed == legal
    if legal:  # `after` is seen by the opponent
        assert np.argwhere(unpack(other & ~after.own)).tolist() == [list(p) for p in taken]
        np.testing.assert_array_equal(after.other, own | pack(jnp.zeros((9, 9), bool).at[point].set(True)))


def test_immediate_recapture_of_a_ko_is_illegal():
    shape = (
        """
    . X O . . . . . .
    X O . O . . . . .
    . X O . . . . . .
    """
        + ". . . . . . . . .\n" * 6
    )
    own, other = stones(read(shape))
    point = {at: pack(jnp.zeros((9, 9), bool).at[at].set(True)) for at in ((1, 1), (1, 2), (8, 8), (8, 7))}
    board, legal = put(Board(own, other, jnp.zeros_like(own)), point[1, 2])
    assert legal
    np.testing.assert_array_equal(board.ko, point[1, 1])
    assert not put(board, point[1, 1])[1]
    board, _ = put(board, point[8, 8])
    board, _ = put(board, point[8, 7])
    assert put(board, point[1, 1])[1]


@pytest.fixture(scope="module")
def play_out():
    """Random games side by side: points of the player to move and of the other."""

    def game(board, passes, moves, key):
        return jnp.stack(random_game(Board(*stones(board), pack(jnp.zeros((9, 9), bool))), passes, moves, key=key))

    play = jax.jit(jax.vmap(game))
    return lambda boards, passes, moves: play(boards, passes, moves, jr.split(jr.key(0), 64))


def test_random_games_to_the_end_leave_only_eyes(play_out):
    """All points belong to somebody, or to nobody for good; who moves first is ahead by less than with good play."""
    ones = jnp.ones(64, int)
    black, white = play_out(jnp.zeros((64, 9, 9), int), 0 * ones, 300 * ones).T
    assert (black + white >= 75).all() and (black + white <= 81).all()
    assert 0 < np.mean(black - white) < 8


def test_a_random_game_stops_at_the_move_limit(play_out):
    empty, board = jnp.zeros((9, 9), int), read(GO_BOARD)
    asked = [(board, 2, 100), (board, 0, 0), (empty, 0, 1), (empty, 0, 2)]
    boards, passes, moves = (jnp.stack([jnp.asarray(one) for one in each]) for each in zip(*asked * 16, strict=True))
    found = play_out(boards, passes, moves).tolist()
    assert found[0] == found[1] == [int(points) for points in area(*stones(board))]  # nothing happened
    assert found[2] == [81, 0]  # seen by who was to move at the start
    assert found[3] == [1, 1]


@pytest.mark.slow
def test_moves_have_the_effect_of_the_rules_of_pgx():
    """Random games of 100 moves: legality of every point, and the board after each move."""
    rules = load_rules("go-9x9")
    points = jax.vmap(pack)(jnp.eye(81, dtype=bool).reshape(81, 9, 9))

    def game(key):
        def step(position, key):
            board = rules.knowledge.board(position.state)
            after, legal = jax.vmap(lambda stone: put(board, stone))(points)
            legal = legal & (jax.vmap(lambda stone: count(stone & ~(board.own | board.other)))(points) == 1)
            stone = jr.categorical(key, jnp.where(position.legal, 0.0, -jnp.inf).at[81].set(-20.0))
            then = rules.play(position, stone)
            mine = jax.tree.map(lambda rows: rows[stone % 81], after)
            seen = rules.knowledge.board(then.state)
            differs = (stone < 81) & (jnp.any(mine.own != seen.own) | jnp.any(mine.other != seen.other))
            differs |= (stone < 81) & jnp.any(mine.ko != seen.ko)
            return then, (position.over, jnp.any(legal != position.legal[:-1]), differs)

        return jax.lax.scan(step, rules.opening, jr.split(key, 100))[1]

    over, other_moves, differs = jax.jit(jax.vmap(game))(jr.split(jr.key(0), 16))
    assert (~over).sum() > 1000  # a game ends by repetition, or by two passes
    assert not (other_moves & ~over).any() and not (differs & ~over).any()


@pytest.mark.slow
def test_passing_is_pointless_before_the_end():
    """Pointless while a point is left, unless the opponent has just passed: then it ends the game."""
    rules = load_rules("go-9x9")
    lines = jnp.array([[-1, -1, -1], [40, -1, -1], [40, 81, -1], [40, 81, 0]])
    sensible = jax.jit(jax.vmap(lambda line: rules.sensible(rules.replay(line))))(lines)
    assert sensible[:, 81].tolist() == [False, False, True, False]
    state = rules.opening.state
    full = state.replace(legal_action_mask=jnp.zeros(82, bool).at[81].set(True))
    assert not rules.knowledge.pointless(full)[81]  # nothing else is left


@pytest.mark.slow
def test_score_equals_that_of_pgx_after_two_passes():
    """After 30 random moves both pass, and pgx counts the board itself; in half of the games only black plays."""
    rules = load_rules("go-9x9")

    def game(white_passes, key):
        def step(position, inputs):
            ply, key = inputs
            stone = jr.categorical(key, jnp.where(position.legal, 0.0, -jnp.inf).at[81].set(-jnp.inf))
            after = rules.play(position, jnp.where((ply >= 30) | (white_passes & (ply % 2 == 1)), 81, stone))
            return after, (after.over, after.outcome, rules.result(after), rules.sensible(after) & ~after.legal)

        return jax.lax.scan(step, rules.opening, (jnp.arange(32), jr.split(key, 32)))[1]

    games = jnp.arange(30) % 2 == 0, jr.split(jr.key(0), 30)
    over, outcome, result, sensible_but_illegal = jax.jit(jax.vmap(game))(*games)
    counted = ~over[:, 29]  # not ended before by a repetition
    assert counted.sum() > 20 and over[:, 31].all() and not sensible_but_illegal.any()
    np.testing.assert_array_equal(outcome[counted, 31], result[counted, 31])
    np.testing.assert_array_equal(result[:, 29], result[:, 31])  # passing changes no point
    assert set(result[:, 31, 0].tolist()) == {1, -1}
