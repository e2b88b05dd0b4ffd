"""A tabular model: what was seen after each action in each state.

Symbols: S states, A actions, s and a their numbers; K outcomes kept of each pair (s, a), the latest ones.
    K = 1   the last outcome, as in the textbook, which assumes that the environment is deterministic
    K > 1   a draw from the kept outcomes is a draw from their empirical distribution; with K at least the number of
            tries this is the maximum-likelihood model
A pair that was never tried has no outcome: `Outcome.known` is False.
Source: Sutton & Barto (2018), sections 8.2 and 8.3.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.core import Transition


class Outcome(eqx.Module):
    """What follows a pair (s, a): the next state, the reward, and whether the next state is terminal."""

    x_next: Int[Array, "*b"]
    reward: Float[Array, "*b"]
    terminal: Bool[Array, "*b"]
    known: Bool[Array, "*b"]  # whether the pair was ever tried; otherwise the rest is zero


class TabularModel(eqx.Module):
    """The latest outcomes of each pair, how often and when it was tried, and the states visited so far."""

    x_next: Int[Array, "S A K"]
    reward: Float[Array, "S A K"]
    terminal: Bool[Array, "S A K"]
    count: Int[Array, "S A"]  # how often the pair was tried
    last: Int[Array, "S A"]  # time step of the last try, from 1; 0: never
    order: Int[Array, "S"]  # the states in which an action was taken, in order of the first visit; the rest is zero
    visited: Int[Array, ""]  # their number
    time: Int[Array, ""]  # time steps observed

    @staticmethod
    def empty(states: int, actions: int, outcomes: int = 1) -> "TabularModel":
        """A model that knows nothing."""
        pairs, kept, zero = (states, actions), (states, actions, outcomes), jnp.zeros((), jnp.int32)
        integers = lambda shape: jnp.zeros(shape, jnp.int32)  # noqa: E731
        rewards, terminal = jnp.zeros(kept, jnp.result_type(float)), jnp.zeros(kept, bool)
        tables = integers(kept), rewards, terminal, integers(pairs), integers(pairs)
        return TabularModel(*tables, integers(states), zero, zero)

    def observe(self, row: Transition) -> "TabularModel":
        """The model after one more step of experience, whose `x`, `u` and `x_next` are the numbers s, a and s'."""
        s, a, time = row.x, row.u, self.time + 1
        place = s, a, self.count[s, a] % self.x_next.shape[2]
        first_visit = jnp.all(self.count[s] == 0)
        return TabularModel(
            self.x_next.at[place].set(row.x_next),
            self.reward.at[place].set(row.reward),
            self.terminal.at[place].set(row.terminated),
            self.count.at[s, a].add(1),
            self.last.at[s, a].set(time),
            self.order.at[jnp.where(first_visit, self.visited, self.order.shape[0])].set(s, mode="drop"),
            self.visited + first_visit,
            time,
        )

    @property
    def kept(self) -> Int[Array, "S A"]:
        """How many outcomes are kept of each pair."""
        return jnp.minimum(self.count, self.x_next.shape[2])

    @property
    def _used(self) -> Bool[Array, "S A K"]:
        """Which outcomes there are."""
        return jnp.arange(self.x_next.shape[2])[None, None] < self.kept[..., None]

    def outcome(self, s: Int[Array, ""], a: Int[Array, ""], u: Float[Array, ""]) -> Outcome:
        """One of the kept outcomes of a pair, chosen by `u`, which is uniform in [0, 1)."""
        kept = jnp.minimum(self.count[s, a], self.x_next.shape[2])
        k = choose(u, kept)
        return Outcome(self.x_next[s, a, k], self.reward[s, a, k], self.terminal[s, a, k], kept > 0)

    def tried_pair(self, u: Float[Array, "2"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """A random visited state and a random action that was taken in it; `u` uniform in [0, 1).

        Before any experience it is the pair (0, 0).
        """
        s = self.order[choose(u[0], self.visited)]
        tried = self.count[s] > 0
        return s, jnp.argmax(jnp.cumsum(tried) > choose(u[1], jnp.sum(tried))).astype(jnp.int32)

    def visited_pair(self, u: Float[Array, "2"]) -> tuple[Int[Array, ""], Int[Array, ""]]:
        """A random visited state and any action; `u` uniform in [0, 1)."""
        return self.order[choose(u[0], self.visited)], choose(u[1], jnp.asarray(self.count.shape[1]))

    def predecessors(self, s: Int[Array, ""]) -> Bool[Array, "S A"]:
        """The pairs that are predicted to lead to state `s`, which is not terminal after them."""
        used = self._used
        return jnp.any(used & (self.x_next == s) & ~self.terminal, axis=2)

    def expected_target(
        self, values: Float[Array, "S"], s: Int[Array, ""], a: Int[Array, ""], discount: float
    ) -> Float[Array, ""]:
        """The expectation of R + discount V(S') for one pair; 0 for an unknown pair."""
        kept = jnp.minimum(self.count[s, a], self.x_next.shape[2])
        later = jnp.where(self.terminal[s, a], 0, discount * values[self.x_next[s, a]])
        targets = jnp.where(jnp.arange(self.x_next.shape[2]) < kept, self.reward[s, a] + later, 0)
        return jnp.sum(targets) / jnp.maximum(kept, 1)

    def expected_targets(self, values: Float[Array, "S"], discount: float) -> Float[Array, "S A"]:
        """The expectation of R + discount V(S') for every pair, over its kept outcomes; 0 for an unknown pair."""
        used = self._used
        targets = self.reward + jnp.where(self.terminal, 0, discount * values[self.x_next])
        return jnp.sum(jnp.where(used, targets, 0), axis=2) / jnp.maximum(self.kept, 1)


def choose(u: Float[Array, ""], n: Int[Array, ""]) -> Int[Array, ""]:
    """The integer below `n` that `u` in [0, 1) selects, all equally probable; 0 where `n` is 0."""
    return jnp.clip((u * n).astype(jnp.int32), 0, jnp.maximum(n - 1, 0))
