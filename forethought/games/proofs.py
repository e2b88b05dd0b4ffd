"""Proven values in a tree search: results of finished games, propagated up the tree by minimax.

Notation
    edge    from a position p to the one after the move a; Q(p, a) = reward + discount * (value of the position after)
    exact   an edge whose discount is 0: its value is its reward and does not depend on the playouts below it
The edge to a finished game is exact.  A position is proven if the player to move has an exact winning move, or if all
its moves are exact; its value is that of the best exact move, and the edge to it becomes exact.  Proofs are stored in
the edges of mctx's tree, so every later simulation reads and backs up the exact value.

Reason: a mean over simulations includes replies that were tried once and lose immediately, although no opponent would
play them.  Here a proven value is backed up unchanged, and a move proven to lose is not searched again.

Source: Winands, Bjornsson & Saito (2008), MCTS-Solver.  Differs: draws are proven too, and exact edges are backed up
as values, not as infinities.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.games.evaluation import NEVER

WIN = 1.0  # the largest outcome of a game


def prove_after_each(start: int, stop: int, simulate: Callable[[Any, Any], Any], state: Any) -> Any:
    """A loop for mctx (its `loop_fn`) that updates the proofs after each simulation."""

    def step(i: Any, state: Any) -> Any:
        key, tree = simulate(i, state)
        return key, jax.vmap(prove, (0, None))(tree, i + 1)  # simulation i adds node i + 1

    return jax.lax.fori_loop(start, stop, step, state)


def prove(tree: Any, leaf: Int[Array, ""]) -> Any:
    """Propagate the proof of a new leaf up the (unbatched) tree of mctx; exact losses are excluded from the prior."""
    edges = tree.children_rewards, tree.children_discounts, tree.children_prior_logits

    def goes_on(carry):
        node, _ = carry
        return node != tree.ROOT_INDEX

    def climb(carry):
        """Update the parent of `node`; go on with the parent if it is proven."""
        node, (rewards, discounts, logits) = carry
        p, a = tree.parents[node], tree.action_from_parent[node]
        exact = (discounts[p] == 0) & (tree.children_index[p] != tree.UNVISITED)
        value, proven = best(rewards[p], exact, logits[p] > NEVER / 2)
        lost = exact[a] & (rewards[p, a] <= -WIN) & ~proven  # a proven position needs no more search
        logits = logits.at[p, a].set(jnp.where(lost, NEVER, logits[p, a]))
        above = tree.parents[p], tree.action_from_parent[p]
        news = exact[a] & proven & (p != tree.ROOT_INDEX) & (discounts[above] != 0)
        rewards = rewards.at[above].set(jnp.where(news, -value, rewards[above]))
        discounts = discounts.at[above].set(jnp.where(news, 0, discounts[above]))
        return jnp.where(news, p, tree.ROOT_INDEX), (rewards, discounts, logits)

    _, (rewards, discounts, logits) = jax.lax.while_loop(goes_on, climb, (leaf, edges))
    return tree.replace(children_rewards=rewards, children_discounts=discounts, children_prior_logits=logits)


def best(
    values: Float[Array, "A"], exact: Bool[Array, "A"], candidates: Bool[Array, "A"]
) -> tuple[Float[Array, ""], Bool[Array, ""]]:
    """The best exact value, and whether it proves the position: it is a win, or all moves are exact."""
    value = jnp.max(jnp.where(exact, values, -WIN))
    return value, (value >= WIN) | jnp.all(exact | ~candidates)


def respect_proofs(
    tree: Any, weights: Float[Array, "A"], sensible: Bool[Array, "A"]
) -> tuple[Bool[Array, "A"], Float[Array, "A"], Float[Array, ""]]:
    """The moves that a search may choose, given its (unbatched) tree: exact wins if any, else all but exact losses.

    Returns:
        the allowed moves; their weights, which sum to one; the value of the root, exact if proven.
    """
    root = tree.ROOT_INDEX
    values = tree.children_rewards[root]
    exact = sensible & (tree.children_discounts[root] == 0) & (tree.children_index[root] != tree.UNVISITED)
    won, lost = exact & (values >= WIN), exact & (values <= -WIN)
    allowed = jnp.where(jnp.any(sensible & ~lost), sensible & ~lost, sensible)
    allowed = jnp.where(jnp.any(won), won, allowed)
    weights = jnp.where(allowed, weights + jnp.finfo(weights.dtype).tiny, 0)
    value, proven = best(values, exact, sensible)
    return allowed, weights / jnp.sum(weights), jnp.where(proven, value, tree.node_values[root])
