"""What tree search asks of a position: which moves look promising, and who is likely to win.

Notation: A moves; an evaluation is seen by the player to move, its value in [-1, 1] (1: certain to win).
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.games.rules import Position, Rules

NEVER = -1e9  # log-probability of a move that is not to be tried


class Evaluation(eqx.Module):
    """A judgment before any search."""

    prior_logits: Float[Array, "A"]  # which moves look promising
    value: Float[Array, ""]  # what the player to move may expect


@runtime_checkable
class Evaluator(Protocol):
    """Judges positions for a search."""

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation: ...


class ValueFunction(eqx.Module):
    """An evaluation by `function(observation) -> (logits [A], value [])`, a network's or a person's own.

    The observation is pgx's, of the player to move; so are logits and value, in [-1, 1].
    """

    function: Callable[[Array], tuple[Array, Array]]

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation:
        """What the function says, with moves that are not sensible ruled out."""
        del key
        logits, value = self.function(rules.observe(position))
        return Evaluation(jnp.where(rules.sensible(position), logits, NEVER), value)
