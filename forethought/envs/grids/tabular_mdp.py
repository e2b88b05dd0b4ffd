"""A known finite Markov decision process as arrays, so that a whole experiment is one compiled function.

Symbols: S states, A actions, B branches of a transition (its possible outcomes), P phases.
The textbook's changing mazes have two phases: phase p holds in the episodes that begin after `since[p]` steps or more.
"""

import equinox as eqx
import gymnasium as gym
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from forethought.core import UsageError


class TabularMDP(eqx.Module):
    """Transition tables of each phase, and the distribution of the first state."""

    probability: Float[Array, "P S A B"]
    x_next: Int[Array, "P S A B"]
    reward: Float[Array, "P S A B"]
    terminal: Bool[Array, "P S A B"]
    initial: Float[Array, "S"]  # probability of each state
    since: Int[Array, "P"]  # steps
    horizon: int = eqx.field(static=True)  # time limit of an episode, steps

    @property
    def states(self) -> int:
        """S."""
        return self.x_next.shape[1]

    @property
    def actions(self) -> int:
        """A."""
        return self.x_next.shape[2]

    @staticmethod
    def of(env: gym.Env, *, horizon: int) -> "TabularMDP":
        """The tables of a Gymnasium environment that has `P` and `initial_state_distrib`, as its toy-text ones do.

        An environment that changes has `tables` and `since`, one entry for each phase.

        Raises:
            UsageError: it has no such tables.
        """
        inner = env.unwrapped
        tables, initial = getattr(inner, "tables", None), getattr(inner, "initial_state_distrib", None)
        tables = [inner.P] if tables is None and hasattr(inner, "P") else tables
        if not tables or initial is None:
            raise UsageError(f"{type(inner).__name__} has no transition table (attributes P, initial_state_distrib).")
        phases = [_arrays(table) for table in tables]
        arrays = [jnp.asarray(np.stack(parts)) for parts in zip(*phases, strict=True)]
        since = jnp.asarray(getattr(inner, "since", [0]), jnp.int32)
        probability, x_next, reward, terminal = arrays
        first = jnp.asarray(initial, jnp.result_type(float))
        return TabularMDP(probability, x_next, reward, terminal, first, since, horizon)

    def first(self, u: Float[Array, ""]) -> Int[Array, ""]:
        """The state in which an episode begins, chosen by `u`, which is uniform in [0, 1)."""
        return select(self.initial, u)

    def phase(self, steps: Int[Array, ""]) -> Int[Array, ""]:
        """The phase of an episode that begins after `steps` steps."""
        return jnp.sum(self.since <= steps, dtype=jnp.int32) - 1

    def step(
        self, phase: Int[Array, ""], s: Int[Array, ""], a: Int[Array, ""], u: Float[Array, ""]
    ) -> tuple[Int[Array, ""], Float[Array, ""], Bool[Array, ""]]:
        """Next state, reward, and whether it is terminal, chosen by `u`, which is uniform in [0, 1)."""
        b = select(self.probability[phase, s, a], u) if self.x_next.shape[3] > 1 else 0
        place = phase, s, a, b
        return self.x_next[place], self.reward[place], self.terminal[place]

    def backup(self, phase: int, values: Float[Array, "S"], discount: float) -> Float[Array, "S A"]:
        """The expectation of R + discount V(S') of each pair."""
        targets = self.reward[phase] + jnp.where(self.terminal[phase], 0, discount * values[self.x_next[phase]])
        return jnp.sum(self.probability[phase] * targets, axis=2)


def select(probabilities: Float[Array, "n"], u: Float[Array, ""]) -> Int[Array, ""]:
    """The integer that `u` in [0, 1) selects with the given probabilities."""
    below = jnp.sum(jnp.cumsum(probabilities) <= u * jnp.sum(probabilities), dtype=jnp.int32)
    return jnp.minimum(below, probabilities.shape[0] - 1)


def _arrays(table: dict) -> tuple[np.ndarray, ...]:
    """Probability, next state, reward, terminal [S, A, B] of Gymnasium's `P[s][a] = [(p, s', r, terminal)]`."""
    actions = len(table[0])
    branches = max(len(outcomes) for row in table.values() for outcomes in row.values())
    shape = len(table), actions, branches
    probability, x_next = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    reward, terminal = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for s, row in table.items():
        for a, outcomes in row.items():
            for b, outcome in enumerate(outcomes):
                probability[s, a, b], x_next[s, a, b], reward[s, a, b], terminal[s, a, b] = outcome
    return probability, x_next, reward, terminal
