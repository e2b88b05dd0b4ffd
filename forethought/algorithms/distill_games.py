"""One policy for several games, distilled from an expert of each: a shared trunk, and a head for each game.

Symbols: K games; T steps of B copies of each game; v, z [n] logits of expert and student; w_k weight of game k.
    repeat
    1  for each game: T B steps in which the expert acts (data: teacher), or the student (data: student)
    2  the expert of the game gives v at every observation
    3  passes through these rows in minibatches: minimize sum_k w_k mean loss(z, v / temperature)
The first round also measures experts and random actions.  The experts are part of the student's run, which therefore
needs no other run.
Source: Rusu et al. (2016), Policy distillation, sections 3 and 4: heads, and the losses kl, nll and mse; data of the
student: Czarnecki et al. (2019), Distilling policy distillation, section 4.
Differs: experts are policies instead of Q-functions, so the default temperature is 1 instead of 0.01; rows are used
when they are made, instead of being kept in a replay memory; actors sample from their policies, instead of taking the
best action and sometimes a random one.
"""

import dataclasses
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.labeled_steps import LabeledSteps
from forethought.algorithms.on_policy import Rollouts
from forethought.algorithms.protocol import Algorithm, Info, StartsFromPolicy
from forethought.core import Conditional, Controller, NumericalFailure, UsageError
from forethought.core.settings import settings
from forethought.envs.env import Env, report_steps, spaces_of
from forethought.envs.environment import Environment
from forethought.envs.parallel import Copies, EpisodeSummary, joined
from forethought.envs.vector import VectorRun
from forethought.learners.soft_labels import LossName
from forethought.learners.task_heads import HeadsFit
from forethought.networks.convolution import Convolutions
from forethought.policies.acting import Acting
from forethought.policies.heads import TaskHeads

WHO = "distillation of several games"


class GamesStudent(eqx.Module):
    """The experts, the student with the memory of its optimizer, and where the copies of compiled games are."""

    experts: tuple[Conditional, ...]
    student: TaskHeads
    memory: Any
    copies: tuple[Copies | None, ...]
    rounds: Int[Array, ""]


@settings
class DistillGames:
    """One policy for several games, by a trunk and a head for each game."""

    games: tuple[str, ...] = ()  # ids of the games; those of the runs
    experts: tuple[Algorithm, ...] = ()  # settings of the experts; those of the runs
    loss: LossName = "kl"  # kl: the expert's probabilities; nll: its choice; mse: its logits
    temperature: float = 1.0  # divides the expert's logits; below 1 its choices become more certain
    data: Literal["teacher", "student"] = "student"  # who acts
    weights: tuple[float, ...] = ()  # of the games in the loss; none: equal
    units: int | None = None  # features of the trunk; none: as many as the experts'
    environments: int | None = None  # copies of each game; none: 64 of compiled games, 8 of others
    steps: int = 4096  # steps of each game in an update
    round_steps: int = 40_960  # fewest steps of each game in a round, in whole updates
    epochs: int = 2  # passes through the rows of an update
    batch: int = 256  # rows of each game in a minibatch
    learning_rate: float = 5e-4  # of Adam
    max_gradient_norm: float = 0.5  # longer gradients are scaled down to it
    convolutions: Convolutions | None = None  # of the trunk; none: by the size of the images
    decay_steps: int | None = None  # steps of each game in which the learning rate falls to zero; none: it is constant

    def __post_init__(self):
        """Refuse settings out of range."""
        _ = self.rollouts
        for name in ("temperature", "epochs", "batch", "learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"DistillGames.{name} must be positive, got {getattr(self, name)}.")
        if self.decay_steps is not None and not self.decay_steps > 0:
            raise ValueError(f"DistillGames.decay_steps must be positive, got {self.decay_steps}.")
        if self.weights and (len(self.weights) != len(self.games) or min(self.weights) < 0 or not sum(self.weights)):
            raise ValueError(
                f"DistillGames.weights must be one for each of the {len(self.games)} games, at least 0 and not all 0; "
                f"got {self.weights}."
            )

    @property
    def rollouts(self) -> Rollouts:
        """The experience of each game."""
        return Rollouts(self.environments, self.steps, self.round_steps, record=False)

    @property
    def labeled_steps(self) -> LabeledSteps:
        """The experience of each game with the logits of its expert."""
        return LabeledSteps(self.rollouts)

    @property
    def heads_fit(self) -> HeadsFit:
        """The fit to the rows of an update."""
        return HeadsFit(**{field.name: getattr(self, field.name) for field in dataclasses.fields(HeadsFit)})

    def init(self, env: Env, *, key: PRNGKeyArray) -> GamesStudent:
        """Untrained experts and an untrained student.

        Raises:
            UsageError: no games, experts without a policy over discrete actions, or games of other images.
        """
        if not self.games or len(self.games) != len(self.experts):
            raise UsageError("DistillGames needs games and as many experts: use `forethought distill RUN RUN ...`.")
        student_key, copies_key, *keys = jr.split(key, len(self.games) + 2)
        envs = self.environments_of(env)
        pairs = zip(self.experts, envs, keys, strict=True)
        experts = tuple(policy_of(expert, expert.init(game, key=k)) for expert, game, k in pairs)
        student = TaskHeads.init(
            [spaces_of(game) for game in envs],
            convolutions=self.convolutions,
            units=self.units,
            who=WHO,
            key=student_key,
        )
        copies = tuple(
            self.labeled_steps.copies(game, key=k)
            for game, k in zip(envs, jr.split(copies_key, len(envs)), strict=True)
        )
        return GamesStudent(experts, student, self.heads_fit.init(student), copies, jnp.zeros((), jnp.int32))

    def with_teachers(self, state: GamesStudent, teachers: Sequence[Any]) -> GamesStudent:
        """The state with the policies of trained experts.

        Raises:
            UsageError: the student has more parameters than the experts together.
        """
        policies = tuple(policy_of(expert, one) for expert, one in zip(self.experts, teachers, strict=True))
        sizes = size_of(state.student), sum(map(size_of, policies))
        if sizes[0] > sizes[1]:
            raise UsageError(
                f"the student has {sizes[0]:,} parameters and its teachers together {sizes[1]:,}: give it fewer, "
                "by --units."
            )
        return dataclasses.replace(state, experts=policies)

    def iterate(self, state: GamesStudent, env: Env, *, key: PRNGKeyArray) -> tuple[GamesStudent, Info]:
        """One round: lines as in the head of this file."""
        envs = self.environments_of(env)
        told: dict[str, float | None] = {}
        notes: tuple[str, ...] = ()
        score_key, place_key, *keys = jr.split(key, self.rollouts.updates + 2)
        if int(state.rounds) == 0:
            told, notes = self._compare(state, envs, key=score_key)
        summaries: list[list[EpisodeSummary]] = [[] for _ in envs]
        metrics: list[dict[str, Array]] = []
        student, memory = state.student, state.memory
        places = self._places(state, envs, key=place_key)
        for i, step_key in enumerate(keys):
            update_key, *game_keys = jr.split(step_key, len(envs) + 1)
            rows = []
            for k, game in enumerate(envs):
                actor = student.policy(k) if self.data == "student" else state.experts[k]
                places[k], labeled, summary = self.labeled_steps.label(
                    game, places[k], actor, state.experts[k], key=game_keys[k]
                )  # lines 1 and 2
                rows.append(labeled)
                summaries[k].append(summary)
            student, memory, one = self.heads_fit.update(student, memory, tuple(rows), key=update_key)  # line 3
            metrics.append(one)
            report_steps(env, (i + 1) * self.steps * len(envs), float("nan"))
        told |= self._means(metrics, summaries)
        copies = tuple(None if isinstance(place, VectorRun) else place for place in places)
        after = GamesStudent(state.experts, student, memory, copies, state.rounds + 1)
        everything = joined([one for some in summaries for one in some])
        return after, Info([], told, notes, summary=everything)

    def controller(self, state: GamesStudent, env: Env) -> Controller:
        """The student's best action in the game that `env` is."""
        return Acting(state.student.policy(self.index(env)), mode=True)

    def expert(self, state: GamesStudent, env: Env) -> Controller:
        """The expert's best action in the game that `env` is."""
        return Acting(state.experts[self.index(env)], mode=True)

    def index(self, env: Env) -> int:
        """The number of a game.

        Raises:
            UsageError: it is not one of the games.
        """
        if env.name not in self.games:
            raise UsageError(f"this student plays {', '.join(self.games)}, and not {env.name}.")
        return self.games.index(env.name)

    def environments_of(self, env: Env) -> list[Env]:
        """The games; `env` is one of them."""
        inner = getattr(env, "env", env)
        return [inner if name == inner.name else open_game(name) for name in self.games]

    def _places(self, state: GamesStudent, envs: Sequence[Env], *, key: PRNGKeyArray) -> list[Copies | VectorRun]:
        """Where each game goes on; games that are not compiled begin new episodes in each round."""
        keys = jr.split(key, len(envs))
        parts = zip(envs, state.copies, state.experts, keys, strict=True)
        return [copies or self.labeled_steps.start_run(game, expert, key=k) for game, copies, expert, k in parts]

    def _compare(self, state: GamesStudent, envs: Sequence[Env], *, key: PRNGKeyArray) -> tuple[dict, tuple[str, ...]]:
        """The mean returns of experts and of random actions; notes about experts that are no better."""
        told: dict[str, float | None] = {}
        notes = []
        for k, game in enumerate(envs):
            scores = []
            for uniform in (False, True):
                score_key = jr.fold_in(jr.fold_in(key, k), uniform)
                scores.append(self.labeled_steps.mean_return(game, state.experts[k], uniform, key=score_key))
            told |= {f"expert_return_{short(game.name)}": scores[0], f"random_return_{short(game.name)}": scores[1]}
            if not scores[0] > scores[1]:
                notes.append(
                    f"the expert's return on {game.name}, {scores[0]:.4g}, is no better than that of random actions, "
                    f"{scores[1]:.4g}: train it longer."
                )
        return told, tuple(notes)

    def _means(self, metrics: Sequence[dict[str, Array]], summaries: Sequence[Sequence[EpisodeSummary]]) -> dict:
        """Losses, disagreement and returns of each game over a round."""
        host = jax.device_get(list(metrics))
        told: dict[str, float | None] = {}
        for k, name in enumerate(map(short, self.games)):
            for what in ("loss", "disagreement"):
                told[f"{what}_{name}"] = float(np.mean([one[what][k] for one in host]))
            returns = joined(list(summaries[k])).returns
            told[f"return_{name}"] = float(np.mean(returns)) if len(returns) else None
        if not np.isfinite([one["loss"] for one in host]).all():
            raise NumericalFailure("the distillation diverged: lower --learning-rate.")
        return told


def policy_of(expert: Algorithm, state: Any) -> Conditional:
    """The policy of an expert.

    Raises:
        UsageError: an algorithm without a policy network.
    """
    if not isinstance(expert, StartsFromPolicy):
        raise UsageError(f"{WHO} needs experts trained by ppo-images or ppo, not by {type(expert).__name__}.")
    return expert.policy_of(state)


@cache
def open_game(name: str) -> Env:
    """A game by its id."""
    return Environment(name).open()


def short(name: str) -> str:
    """The name of a game in metrics: "Breakout" for "MinAtar/Breakout-v1"."""
    return name.rpartition("/")[2].partition("-")[0]


def size_of(module: Any) -> int:
    """Number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(module, eqx.is_inexact_array)))
