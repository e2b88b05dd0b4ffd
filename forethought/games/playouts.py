"""Evaluation of a position by random games (playouts)."""

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core.settings import settings
from forethought.games.evaluation import NEVER, Evaluation
from forethought.games.rules import Position, Rules


@settings
class Playouts:
    """Settings of the evaluation by random games; all useful moves have the same prior.

    Source: Bruegmann (1993); not filling eyes, and passing only if nothing else is left, are usual in Go.
    Decisive moves: Teytaud & Teytaud (2010).
    Differs: decisive moves are detected only in the evaluated position, not within the random games.
    """

    playouts: int = 1  # random games from each position, averaged
    depth: int = 100  # moves after which a random game is stopped and scored
    decisive: bool = True  # detect moves that win at once (games without a score only)

    def __post_init__(self):
        """Check the settings."""
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


def playout(rules: Rules, position: Position, depth: int, *, key: PRNGKeyArray) -> Float[Array, "2"]:
    """The outcome for each player of a random game; if it is unfinished after `depth` moves, the score if there is one.

    Differs: in Go, random games may repeat a position; in the tree, the player who repeats it loses.
    """
    if rules.knowledge is not None:
        return rules.knowledge.random_game(position.state, depth, key=key)

    def goes_on(carry):
        position, moves = carry
        return ~position.over & (moves < depth)

    def step(carry):
        position, moves = carry
        return rules.play(position, pick(position.legal, key=jr.fold_in(key, moves))), moves + 1

    end, _ = jax.lax.while_loop(goes_on, step, (position, jnp.array(0)))
    return end.outcome


def winning(rules: Rules, position: Position) -> Bool[Array, "A"]:
    """The legal moves that win at once; none if the game is over."""
    after = jax.vmap(lambda move: rules.play(position, move).outcome[position.mover])(jnp.arange(rules.game.moves))
    return position.legal & (after > 0) & ~position.over


def pick(mask: Bool[Array, "A"], *, key: PRNGKeyArray) -> Int[Array, ""]:
    """A random true entry, all with the same probability."""
    count = jnp.cumsum(mask)
    return jnp.searchsorted(count, jr.randint(key, (), 1, count[-1] + 1))
