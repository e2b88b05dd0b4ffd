"""Proofs in small trees that are written by hand: who is proven to win, and what follows for the choice."""

import jax.numpy as jnp
import numpy as np
import pytest

from forethought.games.evaluation import NEVER
from forethought.games.proofs import prove, respect_proofs

mctx = pytest.importorskip("mctx")


def tree(edges, nodes=8, moves=3, candidates=None):
    """A tree from edges (parent, move, child, reward, over), children numbered as they were added."""
    parents, actions = np.full(nodes, -1), np.full(nodes, -1)
    index, rewards, discounts = np.full((nodes, moves), -1), np.zeros((nodes, moves)), np.zeros((nodes, moves))
    logits = np.full((nodes, moves), NEVER)
    for node, allowed in (candidates or {}).items():
        logits[node, allowed] = 0
    for parent, move, child, reward, over in edges:
        parents[child], actions[child], index[parent, move] = parent, move, child
        rewards[parent, move], discounts[parent, move] = reward, 0 if over else -1
    zeros = jnp.zeros((nodes, moves))
    return mctx.Tree(
        node_visits=jnp.ones(nodes),
        raw_values=jnp.zeros(nodes),
        node_values=jnp.full(nodes, 0.25),
        parents=jnp.array(parents),
        action_from_parent=jnp.array(actions),
        children_index=jnp.array(index),
        children_prior_logits=jnp.array(logits, jnp.float32),
        children_visits=zeros,
        children_rewards=jnp.array(rewards, jnp.float32),
        children_discounts=jnp.array(discounts, jnp.float32),
        children_values=zeros,
        embeddings=(),
        root_invalid_actions=jnp.zeros(moves),
        extra_data=(),
    )


ALL = {node: [0, 1, 2] for node in range(8)}


def edge(one, node, move):
    return float(one.children_rewards[node, move]), float(one.children_discounts[node, move])


def test_a_move_with_a_winning_reply_is_lost():
    found = prove(tree([(0, 0, 1, 0, False), (1, 2, 2, 1, True)], candidates=ALL), jnp.array(2))
    assert edge(found, 0, 0) == (-1, 0)
    assert found.children_prior_logits[0].tolist() == [np.float32(NEVER), 0, 0]


def test_a_forced_win_is_propagated_to_the_root():
    """Root, a move, the only reply, a move that wins: the move at the root wins."""
    edges = [(0, 1, 1, 0, False), (1, 0, 2, 0, False), (2, 2, 3, 1, True)]
    found = prove(tree(edges, candidates=ALL | {1: [0]}), jnp.array(3))
    assert edge(found, 0, 1) == (1, 0) and edge(found, 1, 0) == (-1, 0)
    open_reply = prove(tree(edges, candidates=ALL | {1: [0, 1]}), jnp.array(3))  # another reply was never tried
    assert edge(open_reply, 0, 1) == (0, -1) and edge(open_reply, 1, 0) == (-1, 0)


def test_a_draw_is_proven_if_all_replies_are_known():
    edges = [(0, 0, 1, 0, False), (1, 0, 2, -1, True), (1, 1, 3, 0, True)]
    assert edge(prove(tree(edges, candidates=ALL | {1: [0, 1]}), jnp.array(3)), 0, 0) == (0, 0)
    assert edge(prove(tree(edges, candidates=ALL), jnp.array(3)), 0, 0) == (0, -1)


def test_nodes_after_the_end_prove_nothing():
    """mctx goes on below a game that is over; there every reward is 0."""
    after_the_end = [(0, 0, 1, 1, True), (1, 0, 2, 0, True), (1, 1, 3, 0, True), (1, 2, 4, 0, True)]
    assert edge(prove(tree(after_the_end, candidates=ALL), jnp.array(4)), 0, 0) == (1, 0)


@pytest.mark.parametrize(
    ("edges", "weights", "value"),
    [
        ([(0, 0, 1, -1, True), (0, 1, 2, 0, False)], [0, 0.375, 0.625], 0.25),  # a lost move is not made
        ([(0, 2, 1, 1, True), (0, 1, 2, 0, False)], [0, 0, 1], 1),  # a won one is
        ([(0, i, i + 1, -1, True) for i in range(3)], [0.2, 0.3, 0.5], -1),  # unless there is no other
        ([(0, 0, 1, -1, True), (0, 1, 2, 0, True), (0, 2, 3, -1, True)], [0, 1, 0], 0),  # all is known
    ],
)
def test_the_choice_respects_proofs(edges, weights, value):
    sensible = jnp.ones(3, bool)
    allowed, found, root = respect_proofs(tree(edges, candidates=ALL), jnp.array([0.2, 0.3, 0.5]), sensible)
    np.testing.assert_allclose(found, weights, atol=1e-6)
    assert allowed.tolist() == [weight > 0 for weight in weights]
    assert root == value
