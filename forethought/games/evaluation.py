"""The evaluation of a position that tree search needs: a prior over moves, and the expected outcome.

Notation: A moves.  Evaluations are from the perspective of the player to move; values are in [-1, 1] (1: a win).
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.games.rules import Position, Rules

NEVER = -1e9  # log-probability of a move that is excluded


class Evaluation(eqx.Module):
    """Prior and value of a position, without search."""

    prior_logits: Float[Array, "A"]  # log-probabilities of the moves, unnormalized
    value: Float[Array, ""]  # expected outcome for the player to move


@runtime_checkable
class Evaluator(Protocol):
    """Evaluates positions for a search."""

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation: ...


class ValueFunction(eqx.Module):
    """An evaluation by `function(observation) -> (logits [A], value [])`, such as a trained network.

    The observation is that of pgx for the player to move; the value in [-1, 1] is for the same player.
    """

    function: Callable[[Array], tuple[Array, Array]]

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation:
        """The function's output; moves that are never useful are excluded."""
        del key
        logits, value = self.function(rules.observe(position))
        return Evaluation(jnp.where(rules.sensible(position), logits, NEVER), value)
