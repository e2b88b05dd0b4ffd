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
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.algorithms.on_policy import Rollouts, vector_run
from forethought.algorithms.protocol import Algorithm, Info, StartsFromPolicy
from forethought.core import Categorical, Conditional, Controller, NumericalFailure, UsageError
from forethought.core.settings import settings
from forethought.envs.compiled import CompiledEnv
from forethought.envs.env import Env, report_steps, spaces_of
from forethought.envs.environment import Environment
from forethought.envs.parallel import Copies, EpisodeSummary, advance_copies, joined, own_system, start_copies
from forethought.envs.vector import VectorRun
from forethought.learners.shuffle import permutation
from forethought.learners.soft_labels import LOSSES, LossName
from forethought.policies.acting import Acting
from forethought.policies.heads import TaskHeads

WHO = "distillation of several games"
PASS = 1024  # images in one pass through an expert


class GamesStudent(eqx.Module):
    """The experts, the student with the memory of its optimizer, and where the copies of compiled games are."""

    experts: tuple[Conditional, ...]
    student: TaskHeads
    memory: Any
    copies: tuple[Copies | None, ...]
    rounds: Int[Array, ""]


class Labeled(eqx.Module):
    """Observations of one game and the expert's logits there."""

    x: Shaped[Array, "N *n"]
    v: Float[Array, "N a"]


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

    def __post_init__(self):
        """Refuse settings out of range."""
        _ = self.rollouts
        for name in ("temperature", "epochs", "batch", "learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"DistillGames.{name} must be positive, got {getattr(self, name)}.")
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
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, gradients clipped to a norm."""
        adam = optax.adam(self.learning_rate, eps=1e-5)
        return optax.flatten(optax.chain(optax.clip_by_global_norm(self.max_gradient_norm), adam))

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
        student = TaskHeads.init([spaces_of(game) for game in envs], units=self.units, who=WHO, key=student_key)
        copies = tuple(self._copies(game, key=k) for game, k in zip(envs, jr.split(copies_key, len(envs)), strict=True))
        memory = self.optimizer.init(eqx.filter(student, eqx.is_inexact_array))
        return GamesStudent(experts, student, memory, copies, jnp.zeros((), jnp.int32))

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
                places[k], labeled, summary = self._label(
                    game, places[k], actor, state.experts[k], False, key=game_keys[k]
                )  # lines 1 and 2
                rows.append(labeled)
                summaries[k].append(summary)
            student, memory, one = _fit(self._compiled, student, memory, tuple(rows), update_key)  # line 3
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

    def _copies(self, env: Env, *, key: PRNGKeyArray) -> Copies | None:
        """New copies of a compiled game; None for other games."""
        system = own_system(env)
        return None if system is None else start_copies(system, self.rollouts.count(True), key=key)

    def _places(self, state: GamesStudent, envs: Sequence[Env], *, key: PRNGKeyArray) -> list[Copies | VectorRun]:
        """Where each game goes on; games that are not compiled begin new episodes in each round."""
        keys = jr.split(key, len(envs))
        parts = zip(envs, state.copies, state.experts, keys, strict=True)
        return [copies or self._run(game, expert, key=k) for game, copies, expert, k in parts]

    def _run(self, env: Env, policy: Any, *, key: PRNGKeyArray) -> VectorRun:
        """Copies of a game that is not compiled."""
        return vector_run(env, _acting(policy, False), self.rollouts.count(False), keep=False, key=key)

    def _label(
        self, env: Env, place: Copies | VectorRun, actor: Any, expert: Any, uniform: bool, *, key: PRNGKeyArray
    ) -> tuple[Copies | VectorRun, Labeled, EpisodeSummary]:
        """Steps of a game in which `actor` acts, or random actions with `uniform`, and the expert's logits."""
        if isinstance(place, Copies):
            system, steps, random = own_system(env), self.steps // place.t.shape[0], jnp.asarray(uniform)
            assert system is not None
            place, labeled, ended = _compiled_steps(system, place, actor, expert, random, steps, key)
            return place, labeled, EpisodeSummary.of(ended)
        earlier, place.controller = len(place.done), _acting(actor, uniform)
        while place.recorded < self.steps:
            place.step()
        summary = EpisodeSummary.of_episodes([episode for _, episode in place.done[earlier:]])
        labeled = _labeled(expert, jnp.asarray(place.streams().x))
        return place, labeled, dataclasses.replace(summary, steps=self.steps)

    def _compare(self, state: GamesStudent, envs: Sequence[Env], *, key: PRNGKeyArray) -> tuple[dict, tuple[str, ...]]:
        """The mean returns of experts and of random actions; notes about experts that are no better."""
        told: dict[str, float | None] = {}
        notes = []
        for k, game in enumerate(envs):
            scores = []
            for uniform in (False, True):
                score_key = jr.fold_in(jr.fold_in(key, k), uniform)
                scores.append(self._score(game, state.experts[k], uniform, key=score_key))
            told |= {f"expert_return_{short(game.name)}": scores[0], f"random_return_{short(game.name)}": scores[1]}
            if not scores[0] > scores[1]:
                notes.append(
                    f"the expert's return on {game.name}, {scores[0]:.4g}, is no better than that of random actions, "
                    f"{scores[1]:.4g}: train it longer."
                )
        return told, tuple(notes)

    def _score(self, env: Env, expert: Any, uniform: bool, *, key: PRNGKeyArray) -> float:
        """The mean return of about one episode of each copy, if they end in time.

        The first few to end would be the short ones.
        """
        start, steps = self._copies(env, key=key), 0
        place: Any = self._run(env, expert, key=key) if start is None else _whole_episodes(start, env.task.horizon)
        count = self.rollouts.count(start is not None)
        returns: list[float] = []
        while len(returns) < count and steps < count * env.task.horizon:
            place, _, summary = self._label(env, place, expert, expert, uniform, key=jr.fold_in(key, steps))
            returns += [*summary.returns]
            steps += summary.steps
        return float(np.mean(returns)) if returns else float("nan")

    @property
    def _compiled(self) -> "DistillGames":
        """The settings that the update is compiled for."""
        return dataclasses.replace(self, experts=(), games=(), weights=()) if not self.weights else self

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


class _Mixed(eqx.Module):
    """A policy, or random actions where `uniform` is True."""

    policy: Conditional
    uniform: Bool[Array, ""]

    def __call__(self, x: Shaped[Array, "*n"]) -> Categorical:
        logits = self.policy(x).logits  # type: ignore[attr-defined]
        return Categorical(jnp.where(self.uniform, jnp.zeros_like(logits), logits))

    def draw(self, *, key: PRNGKeyArray) -> "_Mixed":
        del key
        return self


def _whole_episodes(copies: Copies, horizon: int) -> Copies:
    """New copies none of whose first episodes is truncated before the horizon."""
    return eqx.tree_at(lambda c: c.end, copies, jnp.full_like(copies.end, horizon))


def _acting(policy: Any, uniform: bool) -> Acting:
    """A controller by samples of a policy, or by random actions."""
    return Acting(_Mixed(policy, jnp.asarray(uniform)))


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


@eqx.filter_jit
def _compiled_steps(
    system: CompiledEnv, copies: Copies, actor: Any, expert: Any, uniform: Array, steps: int, key: PRNGKeyArray
) -> tuple[Copies, Labeled, Any]:
    policy = _Mixed(actor, uniform)
    copies, rows, ended = advance_copies(system, copies, lambda x, *, key: policy(x).sample(key=key), steps, key=key)
    return copies, _labels(expert, rows.x), ended


@eqx.filter_jit
def _labeled(expert: Any, xs: Shaped[Array, "T B *n"]) -> Labeled:
    return _labels(expert, xs)


def _labels(expert: Any, xs: Shaped[Array, "T B *n"]) -> Labeled:
    flat = xs.reshape(-1, *xs.shape[2:])
    return Labeled(flat, jax.lax.map(lambda x: expert(x).logits, flat, batch_size=min(PASS, flat.shape[0])))


@eqx.filter_jit
def _fit(
    how: DistillGames, student: TaskHeads, memory: Any, rows: tuple[Labeled, ...], key: PRNGKeyArray
) -> tuple[TaskHeads, Any, dict[str, Float[Array, "K"]]]:
    """Passes through the rows of all games."""
    count = rows[0].v.shape[0]
    size = min(how.batch, count)
    batches = count // size
    arrays, static = eqx.partition(student, eqx.is_inexact_array)

    def step(carry: tuple, at: Int[Array, "K b"]) -> tuple[tuple, dict]:
        arrays, memory = carry
        some = tuple(Labeled(one.x[i], one.v[i]) for one, i in zip(rows, at, strict=True))
        (_, told), gradient = jax.value_and_grad(
            lambda arrays: losses(how, eqx.combine(arrays, static), some), has_aux=True
        )(arrays)
        change, memory = how.optimizer.update(gradient, memory)
        return (optax.apply_updates(arrays, change), memory), told

    def epoch(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, dict]:
        orders = [permutation(count, key=k)[: batches * size].reshape(batches, size) for k in jr.split(key, len(rows))]
        return jax.lax.scan(step, carry, jnp.stack(orders, axis=1))

    (arrays, memory), told = jax.lax.scan(epoch, (arrays, memory), jr.split(key, how.epochs))
    return eqx.combine(arrays, static), memory, jax.tree.map(lambda a: jnp.mean(a, axis=(0, 1)), told)


def losses(
    how: DistillGames, student: TaskHeads, rows: Sequence[Labeled]
) -> tuple[Float[Array, ""], dict[str, Float[Array, "K"]]]:
    """The weighted loss of a minibatch of each game; the loss, and the share of other choices, of each."""
    each, other = [], []
    for k, some in enumerate(rows):
        policy = student.policy(k)
        zs = jax.vmap(lambda x: policy(x).logits)(some.x)  # type: ignore[attr-defined]  # noqa: B023
        each.append(jnp.mean(jax.vmap(lambda z, v: LOSSES[how.loss](z, v, 1.0))(zs, some.v / how.temperature)))
        other.append(jnp.mean((jnp.argmax(zs, -1) != jnp.argmax(some.v, -1)).astype(zs.dtype)))
    weights = jnp.asarray(how.weights or (1.0,) * len(rows))
    told = {"loss": jnp.stack(each), "disagreement": jnp.stack(other)}
    return weights @ told["loss"] / jnp.sum(weights), told
