"""Steps of a game in which a policy acts, with the logits of an expert at every observation.

Compiled games have copies that go on from round to round; the copies of others begin new episodes in each round.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray, Shaped

from forethought.algorithms.on_policy import Rollouts, vector_run
from forethought.core import Categorical, Conditional
from forethought.envs.compiled import CompiledEnv
from forethought.envs.env import Env
from forethought.envs.parallel import Copies, EpisodeSummary, advance_copies, own_system, start_copies
from forethought.envs.vector import VectorRun
from forethought.learners.task_heads import Labeled
from forethought.policies.acting import Acting

PASS = 1024  # images in one pass through an expert


@dataclass(frozen=True)
class LabeledSteps:
    """How many steps are taken, on how many copies of a game."""

    rollouts: Rollouts

    def copies(self, env: Env, *, key: PRNGKeyArray) -> Copies | None:
        """New copies of a compiled game; None for other games."""
        system = own_system(env)
        return None if system is None else start_copies(system, self.rollouts.count(True), key=key)

    def start_run(self, env: Env, policy: Any, *, key: PRNGKeyArray) -> VectorRun:
        """Copies of a game that is not compiled."""
        return vector_run(env, _acting(policy, False), self.rollouts.count(False), keep=False, key=key)

    def label(
        self, env: Env, place: Copies | VectorRun, actor: Any, expert: Any, uniform: bool = False, *, key: PRNGKeyArray
    ) -> tuple[Copies | VectorRun, Labeled, EpisodeSummary]:
        """Steps of a game in which `actor` acts, or random actions with `uniform`, and the expert's logits."""
        if isinstance(place, Copies):
            system, steps, random = own_system(env), self.rollouts.steps // place.t.shape[0], jnp.asarray(uniform)
            assert system is not None
            place, labeled, ended = _compiled_steps(system, place, actor, expert, random, steps, key)
            return place, labeled, EpisodeSummary.of(ended)
        earlier, place.controller = len(place.done), _acting(actor, uniform)
        while place.recorded < self.rollouts.steps:
            place.step()
        summary = EpisodeSummary.of_episodes([episode for _, episode in place.done[earlier:]])
        labeled = _labeled(expert, jnp.asarray(place.streams().x))
        return place, labeled, dataclasses.replace(summary, steps=self.rollouts.steps)

    def mean_return(self, env: Env, expert: Any, uniform: bool, *, key: PRNGKeyArray) -> float:
        """The mean return of about one episode of each copy, if they end in time.

        The first few to end would be the short ones.
        """
        start, steps = self.copies(env, key=key), 0
        place: Any = self.start_run(env, expert, key=key) if start is None else _whole_episodes(start, env.task.horizon)
        count = self.rollouts.count(start is not None)
        returns: list[float] = []
        while len(returns) < count and steps < count * env.task.horizon:
            place, _, summary = self.label(env, place, expert, expert, uniform, key=jr.fold_in(key, steps))
            returns += [*summary.returns]
            steps += summary.steps
        return float(np.mean(returns)) if returns else float("nan")


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
