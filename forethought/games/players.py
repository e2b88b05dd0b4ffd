"""Players: tree search, and the baselines for comparison.  In finished games they may return any move."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.games.evaluation import Evaluator
from forethought.games.playouts import Playouts, pick, playout
from forethought.games.rules import Position, Rules
from forethought.games.tree_search import GumbelSearch, Search


@runtime_checkable
class Player(Protocol):
    """Chooses a move in a position."""

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]: ...


@dataclass(frozen=True)
class SearchPlayer:
    """Tree search; positions are evaluated by playouts or by a given function."""

    search: Search = GumbelSearch()
    evaluate: Evaluator = Playouts()

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """The search's move."""
        return self.search.search(rules, position, self.evaluate, key=key).move


@dataclass(frozen=True)
class RandomPlayer:
    """Uniformly random legal moves."""

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """One of the legal moves, each with the same probability."""
        del rules
        return pick(position.legal, key=key)


@dataclass(frozen=True)
class OnePlyPlayer:
    """Looks one move ahead: an immediate win, else the best score if the game has a score."""

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """A best useful move, ties broken at random."""

        def worth(move: Array) -> Float[Array, ""]:
            after = rules.play(position, move)
            result = jnp.where(after.over, after.outcome, rules.result(after))
            return result[position.mover]

        worths = jax.vmap(worth)(jnp.arange(rules.game.moves))
        return _best(worths, rules.sensible(position), key)


@dataclass(frozen=True)
class MonteCarloPlayer:
    """Flat Monte Carlo: the same number of random games after each move; the move with the best mean is chosen.

    Source: Bruegmann (1993), without the annealing.
    """

    simulations: int = 200  # random games per move
    depth: int = 100  # moves after which a random game is stopped and scored

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """The move with the best mean result, ties broken at random."""
        order_key, play_key, tie_key = jr.split(key, 3)
        sensible = rules.sensible(position)
        shuffled = jnp.where(sensible, jr.uniform(order_key, sensible.shape), jnp.inf)
        order = jnp.argsort(shuffled)  # useful moves first, in random order
        moves = order[jnp.arange(self.simulations) % jnp.sum(sensible)]

        def simulate(totals, inputs):
            move, key = inputs
            after = rules.play(position, move)
            result = playout(rules, after, self.depth, key=key)
            result = jnp.where(after.over, after.outcome, result)[position.mover]
            return totals.at[move].add(jnp.stack([result, jnp.ones(())])), None

        totals = jnp.zeros((sensible.shape[0], 2))
        totals, _ = jax.lax.scan(simulate, totals, (moves, jr.split(play_key, self.simulations)))
        means = totals[:, 0] / jnp.maximum(totals[:, 1], 1)
        return _best(means, sensible & (totals[:, 1] > 0), tie_key)


class TablePlayer(eqx.Module):
    """A table of moves: `good[i]` are the moves to choose from if the board, as digits in base 3, is `i`."""

    good: Array  # bool [3^cells, A]

    def choose(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Int[Array, ""]:
        """One of the good moves."""
        cells = rules.cells(position)
        number = jnp.sum(cells * 3 ** jnp.arange(cells.shape[0]))
        good = self.good[number] & position.legal
        return pick(jnp.where(jnp.any(good), good, position.legal), key=key)


def _best(values: Float[Array, "A"], allowed: Array, key: PRNGKeyArray) -> Int[Array, ""]:
    """The largest of the allowed values, ties broken at random."""
    values = jnp.where(allowed, values, -jnp.inf)
    return pick(values == jnp.max(values), key=key)
