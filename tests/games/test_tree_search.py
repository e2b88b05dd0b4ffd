"""What a search must see, whatever its strength."""

import sys

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import UsageError
from forethought.games import minimax
from forethought.games.all_replies import against_all_replies
from forethought.games.evaluation import ValueFunction
from forethought.games.match import Hand
from forethought.games.players import SearchPlayer
from forethought.games.playouts import Playouts
from forethought.games.rules import load_rules
from forethought.games.tree_search import GumbelSearch, PUCTSearch

pytest.importorskip("mctx")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

# Connect Four, columns from 0: the moves so far, and what must come next.
TACTICS = {
    "win upwards": ([3, 0, 3, 0, 3, 1], {3}),
    "win along the row": ([0, 0, 1, 1, 2, 2], {3}),
    "win as the second player": ([0, 3, 1, 3, 0, 3, 6], {3}),
    "win on the diagonal": ([0, 1, 1, 2, 3, 2, 2, 3, 3, 6], {3}),
    "block upwards": ([3, 0, 3, 0, 3], {3}),
    "block along the row": ([6, 0, 6, 1, 5, 2], {3}),
    "make an open three": ([2, 2, 3, 3], {1, 4}),
    "a full column is no move": ([3, 3, 3, 3, 3, 3], set(range(7)) - {3}),
}


@pytest.mark.slow
@pytest.mark.parametrize("search", [GumbelSearch(simulations=200), PUCTSearch(simulations=200)], ids=["gumbel", "puct"])
def test_tactics_of_connect_four(search):
    rules = load_rules("connect-four")
    sequences = jnp.array([[*moves, *[-1] * (10 - len(moves))] for moves, _ in TACTICS.values()])

    def look(moves, key):
        return search.search(rules, rules.replay(moves), Playouts(depth=42), key=key)

    look = jax.jit(jax.vmap(look))
    found = [look(sequences, jr.split(jr.key(seed), len(TACTICS))) for seed in range(3)]
    for choice in found:
        for (name, (_, good)), move in zip(TACTICS.items(), choice.move.tolist(), strict=True):
            assert move in good, name
        np.testing.assert_allclose(choice.weights.sum(axis=1), 1, rtol=1e-5)
        assert choice.weights[-1, 3] == 0  # the full column
        assert (choice.value[:4] > 0).all()  # the player to move wins, be it the first or the second
        assert choice.value[4] < 0  # the player to move is under attack
    again = look(sequences, jr.split(jr.key(0), len(TACTICS)))
    np.testing.assert_array_equal(again.weights, found[0].weights)


@pytest.mark.slow
def test_tic_tac_toe_is_never_lost():
    """By no line of play, and with no move given away in any position."""
    hand = Hand(load_rules("tic-tac-toe"), SearchPlayer(PUCTSearch(simulations=400), Playouts(playouts=8, depth=9)))
    for moves_first in (True, False):
        lines = against_all_replies(hand, moves_first=moves_first, key=jr.key(0))
        assert lines.lost == 0 and lines.won > lines.drawn
    boards = minimax.decisions()
    positions = jax.jit(jax.vmap(hand.rules.replay))(jnp.array([minimax.line_to(board) for board in boards]))
    chosen = hand.choose(positions, jr.split(jr.key(1), len(boards))).tolist()
    mistakes = [board for board, move in zip(boards, chosen, strict=True) if not minimax.best_moves(board)[move]]
    assert mistakes == []


@pytest.mark.slow
def test_a_given_value_function_guides_the_search():
    """A value that loves stones in the middle cell: the search takes it, and so does its opponent if it may."""
    rules = load_rules("tic-tac-toe")

    def function(observation):
        middle = observation[1, 1]
        return jnp.zeros(9), middle[0] * 1.0 - middle[1] * 1.0

    search = PUCTSearch(simulations=60)
    choice = jax.jit(lambda key: search.search(rules, rules.opening, ValueFunction(function), key=key))(jr.key(0))
    assert choice.move == 4 and choice.value > 0.3


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: GumbelSearch(simulations=0), "GumbelSearch.simulations must be positive"),
        (lambda: GumbelSearch(noise=-1.0), "noise"),
        (lambda: PUCTSearch(exploration=0.0), "exploration"),
        (lambda: PUCTSearch(dirichlet_share=2.0), "dirichlet_share"),
        (lambda: PUCTSearch(temperature=-1.0), "temperature"),
    ],
)
def test_wrong_settings_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_without_mctx_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mctx", None)
    rules = load_rules("tic-tac-toe")
    with pytest.raises(UsageError, match=r"forethought\[games\]"):
        GumbelSearch().search(rules, rules.opening, Playouts(), key=jr.key(0))
