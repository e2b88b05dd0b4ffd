"""What a position is worth: by random playouts, or by a function that somebody wrote or learned.

Notation: A moves; an evaluation is seen by the player to move, its value in [-1, 1] (1: certain to win).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.dynamics.rules import Position, Rules

NEVER = -1e9  # log-probability of a move that is not to be tried


class Evaluation(eqx.Module):
    """What tree search asks of a position."""

    prior_logits: Float[Array, "A"]  # which moves look promising, before any search
    value: Float[Array, ""]  # what the player to move may expect


@runtime_checkable
class Evaluator(Protocol):
    """Judges positions for a search."""

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation: ...


@dataclass(frozen=True)
class Playouts:
    """Settings of the evaluation by random games; every sensible move has the same prior.

    Source: Bruegmann (1993); that no eye is filled, and passing is the last resort, is usual in Go.  Decisive moves:
    Teytaud & Teytaud (2010), here in the position itself only, not within the random games.
    """

    playouts: int = 1  # random games from each position, averaged
    depth: int = 100  # moves until a random game is broken off and counted
    decisive: bool = True  # see a move that wins at once, in games without a score (with one there is none)

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name in ("playouts", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"Playouts.{name} must be at least 1, got {getattr(self, name)}.")

    def __call__(self, rules: Rules, position: Position, *, key: PRNGKeyArray) -> Evaluation:
        """The mean result for the player to move."""
        play = jax.vmap(lambda key: playout(rules, position, self.depth, key=key))
        value = jnp.mean(play(jr.split(key, self.playouts)), axis=0)[position.mover]
        candidates = rules.sensible(position)
        if self.decisive and rules.knowledge is None:
            wins = winning(rules, position)
            won = jnp.any(wins)
            value, candidates = jnp.where(won, 1.0, value), jnp.where(won, wins, candidates)
        return Evaluation(jnp.where(candidates, 0.0, NEVER), value)


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


def playout(rules: Rules, position: Position, depth: int, *, key: PRNGKeyArray) -> Float[Array, "2"]:
    """The outcome for each player after random moves, at most `depth` of them, then by score where the game has one.

    Differs: in a game with a score (Go), a game that ends by repetition is counted too; a search sees it as lost.
    """
    move_on = rules.play if rules.knowledge is None else rules.play_on

    def goes_on(carry):
        position, moves = carry
        return ~position.over & (moves < depth)

    def step(carry):
        position, moves = carry
        move = pick(playable(rules, position), key=jr.fold_in(key, moves))
        return move_on(position, move), moves + 1

    end, _ = jax.lax.while_loop(goes_on, step, (position, jnp.array(0)))
    return rules.judge(end)


def winning(rules: Rules, position: Position) -> Bool[Array, "A"]:
    """The legal moves that win at once; none where the game is over."""
    after = jax.vmap(lambda move: rules.play(position, move).outcome[position.mover])(jnp.arange(rules.game.moves))
    return position.legal & (after > 0) & ~position.over


def playable(rules: Rules, position: Position) -> Bool[Array, "A"]:
    """What random play chooses from: sensible moves, and the last resort only where there is nothing else."""
    sensible = rules.sensible(position)
    if rules.knowledge is None:
        return sensible
    others = sensible.at[rules.knowledge.last_resort()].set(False)
    return jnp.where(jnp.any(others), others, sensible)


def pick(mask: Bool[Array, "A"], *, key: PRNGKeyArray) -> Int[Array, ""]:
    """One of the true entries, each with the same probability."""
    count = jnp.cumsum(mask)
    return jnp.searchsorted(count, jr.randint(key, (), 1, count[-1] + 1))
