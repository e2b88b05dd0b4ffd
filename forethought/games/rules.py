"""The rules of a board game as a model: the position after a move, the player to move, and the outcome.

Notation
    position   the state of a game; two players, 0 (who moves first) and 1, move in turn
    move       a number in [0, A)
    outcome    [2], for each player: 1 won, -1 lost, 0 for a draw and during the game; it sums to zero
    score      [2], the same for an unfinished game, by the game's own scoring, in [-1, 1]
A game is not a `Dynamics`: its state is not a vector, and it has two opposing players.  The
model is known, so nothing has to be learned: tree search (`forethought.games.tree_search`) plans with the rules.

Source: the rules are those of pgx (Koyamada et al., 2023); to install it: pip install 'forethought[games]'.
"""

import importlib
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import UsageError
from forethought.games.catalog import Game, game

AnyArray = Any  # a JAX array, or a NumPy array on the host


class Position(eqx.Module):
    """The state of a game."""

    state: Any  # pgx's state without its observation, which `Rules.observe` computes on demand

    @property
    def mover(self) -> Int[AnyArray, "*B"]:
        """The player to move, 0 or 1."""
        return self.state.current_player

    @property
    def legal(self) -> Bool[AnyArray, "*B A"]:
        """Which moves are legal; after the end of the game all are, without effect."""
        return self.state.legal_action_mask

    @property
    def over(self) -> Bool[AnyArray, "*B"]:
        """Whether the game has ended."""
        return self.state.terminated | self.state.truncated

    @property
    def outcome(self) -> Float[AnyArray, "*B 2"]:
        """1, -1 or 0 for each player; zeros during the game."""
        return self.state.rewards


@runtime_checkable
class Knowledge(Protocol):
    """Knowledge of a game beyond its rules."""

    def score(self, state: Any) -> Float[Array, "2"]:
        """The outcome if the game were scored now."""
        ...

    def pointless(self, state: Any) -> Bool[Array, "A"]:
        """Legal moves that are never useful."""
        ...

    def random_game(self, state: Any, moves: int, *, key: PRNGKeyArray) -> Float[Array, "2"]:
        """The score after at most `moves` random useful moves; faster than with the full rules."""
        ...


class Rules(eqx.Module):
    """A two-player game of perfect information without chance."""

    game: Game = eqx.field(static=True)
    opening: Position  # before the first move, player 0 to move
    knowledge: Knowledge | None
    pgx_env: Any = eqx.field(static=True)

    def play(self, position: Position, move: Int[Array, ""]) -> Position:
        """The position after a move.  An illegal move loses at once; a move after the end of the game has no effect."""
        with jax.numpy_rank_promotion("allow"):  # pgx's code relies on it
            after = self.pgx_env.step(position.state, move)
        outcome = jnp.where(position.over, position.outcome, after.rewards)  # pgx clears the rewards at the next move
        return Position(after.replace(rewards=outcome, observation=position.state.observation))

    def replay(self, moves: Int[Array, "T"]) -> Position:
        """The position after these moves from the opening; negative numbers are skipped."""

        def step(position: Position, move: Int[Array, ""]):
            after = self.play(position, jnp.maximum(move, 0))
            return jax.tree.map(lambda old, new: jnp.where(move < 0, old, new), position, after), None

        return jax.lax.scan(step, self.opening, moves)[0]

    def result(self, position: Position) -> Float[Array, "2"]:
        """The score, also of an unfinished game, if the game has one; else the outcome, zero for an unfinished game."""
        return position.outcome if self.knowledge is None else self.knowledge.score(position.state)

    def sensible(self, position: Position) -> Bool[Array, "A"]:
        """The legal moves except those that are never useful; there is always one."""
        if self.knowledge is None:
            return position.legal
        return position.legal & ~self.knowledge.pointless(position.state)

    def observe(self, position: Position) -> Array:
        """The observation of pgx (planes), from the perspective of the player to move."""
        with jax.numpy_rank_promotion("allow"):
            return self.pgx_env.observe(position.state)

    def cells(self, position: Position) -> Int[Array, "C"]:
        """The board by rows: 0 empty, 1 a stone of player 0, 2 of player 1."""
        planes = self.observe(position)
        own, other = (planes[..., i].astype(jnp.int32).ravel() for i in range(2))
        return own * (1 + position.mover) + other * (2 - position.mover)


def load_rules(name: str) -> Rules:
    """The rules of a game that `forethought list games` names.

    Raises:
        UsageError: there is no such game, or the extra `games` is not installed.
    """
    described = game(name)
    env = need("pgx").make(described.pgx_id)
    # pgx chooses the first player at random; here it is player 0.
    start = jax.jit(env.init)
    first = next(state for state in (start(jr.key(i)) for i in range(64)) if state.current_player == 0)
    opening = Position(first.replace(observation=jnp.zeros(0)))
    knowledge = None
    if described.knowledge:
        module, _, attribute = described.knowledge.partition(":")
        knowledge = getattr(importlib.import_module(f"forethought.games.{module}"), attribute)()
    return Rules(described, opening, knowledge, env)


def need(module: str) -> Any:
    """A module of the optional dependencies `games`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise UsageError(f"games need {module}: pip install 'forethought[games]'.") from problem
