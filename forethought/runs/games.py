"""Evaluation of a student of several games: the student, its experts and random actions on each game."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller
from forethought.envs.env import Env
from forethought.policies.acting import sampling
from forethought.policies.uniform import Uniform
from forethought.runs import metrics
from forethought.runs.run import EVALUATE, Run, check_seed

RANDOM_EPISODES = 5


@runtime_checkable
class PlaysSeveralGames(Protocol):
    """Capability of an algorithm whose controller depends on the game that an environment is."""

    games: tuple[str, ...]

    def environments_of(self, env: Env) -> list[Env]:
        """The games."""
        ...

    def controller(self, state: Any, env: Env) -> Controller:
        """What was learned, in one game."""
        ...

    def expert(self, state: Any, env: Env) -> Controller:
        """The teacher, in one game."""
        ...


@dataclass(frozen=True)
class GameScore:
    """Returns in one game."""

    game: str
    student: tuple[float, ...]
    expert: tuple[float, ...]
    random: tuple[float, ...]

    @property
    def share(self) -> float:
        """How much of the expert's mean return above that of random actions the student keeps; NaN if it has none."""
        chance, most = np.mean(self.random), np.mean(self.expert)
        return float((np.mean(self.student) - chance) / (most - chance)) if most > chance else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        share = None if np.isnan(self.share) else self.share
        means = {who: float(np.mean(getattr(self, who))) for who in ("student", "expert", "random")}
        return {"game": self.game, **means, "share": share, "returns": list(self.student)}


def plays_several_games(algorithm: Any) -> bool:
    """Whether its runs are students of several games."""
    return isinstance(algorithm, PlaysSeveralGames)


def evaluate_games(
    run: Run,
    *,
    episodes: int,
    seed: int | None = None,
    sampled: bool = False,
    on_stage: Callable[[str], object] | None = None,
) -> list[GameScore]:
    """New episodes of student and expert, with the same keys, and of random actions, in each game.

    Args:
        run: a student of several games.
        episodes: number of episodes of student and expert in each game.
        seed: seed of the episodes; by default the training's seed.
        sampled: student and expert draw their actions, as in training, instead of taking the most probable ones.
        on_stage: called before the episodes of each player with the game and the player, in words.
    """
    algorithm: Any = run.algorithm
    key = jr.fold_in(jr.key(check_seed(run.info["seed"] if seed is None else seed)), EVALUATE)
    scores, acting = [], sampling if sampled else lambda controller: controller
    for k, env in enumerate(algorithm.environments_of(run.env)):
        own = jr.fold_in(key, k)
        keys = [jr.fold_in(own, i) for i in range(episodes)]
        returns = []
        for who, controller, its_keys in (
            ("student", acting(algorithm.controller(run.state, env)), keys),
            ("expert", acting(algorithm.expert(run.state, env)), keys),
            ("random actions", Uniform(env.task.action_space), list(jr.split(own, RANDOM_EPISODES))),
        ):
            if on_stage is not None:
                on_stage(f"{env.name}, {who}")
            returns.append(_returns(env, controller, its_keys))
        scores.append(GameScore(env.name, *returns))
    return scores


def mean_share(scores: Sequence[GameScore]) -> float:
    """The mean share over the games whose expert is better than random actions; NaN if none is."""
    shares = [score.share for score in scores if not np.isnan(score.share)]
    return float(np.mean(shares)) if shares else float("nan")


def _returns(env: Env, controller: Controller, keys: Sequence[PRNGKeyArray]) -> tuple[float, ...]:
    return tuple(metrics.episode_return(env.run(controller, key=key)) for key in keys)
