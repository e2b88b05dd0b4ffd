"""Rounds of a learner on its own policy's experience: what policy gradient and PPO share.

Symbols: B copies of the environment, T = steps / B steps of each for one update.

On our own systems the copies, the policy and the update are one compiled function.  The copies' states are part of the
algorithm's state, so that episodes go on from update to update and from round to round.  On other environments the
copies start new episodes in each round, and those that run at its end are truncated there, which the value of their
last observation makes up for; within a round episodes go on from update to update.

Of the experience, returns and lengths of episodes are kept.  With `record`, of each round also one whole episode: on
our own systems one more, in which the policy acts by its mode, counted as experience but not learned from; on others
the last one.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from forethought.algorithms.protocol import Info
from forethought.core import Learner, NumericalFailure, Spaces, Transition, UsageError
from forethought.core.settings import settings
from forethought.envs.compiled import CompiledEnv
from forethought.envs.env import Env, collect, report_steps, spaces_of
from forethought.envs.gym_env import GymEnv
from forethought.envs.parallel import (
    Copies,
    Ended,
    EpisodeSummary,
    advance_copies,
    joined,
    own_system,
    start_copies,
)
from forethought.envs.vector import VectorRun
from forethought.policies.acting import Acting

OWN_COPIES, OTHER_COPIES = 64, 8  # of our own systems; of environments that are stepped one by one


class OnPolicyState(eqx.Module):
    """What was learned, and where the copies of one of our own systems are; None for other environments."""

    learner: Any
    copies: Copies | None


@settings
class Rollouts:
    """Settings of the experience of each update."""

    environments: int | None = None  # copies of the environment side by side; none: 64 of our own systems, 8 of others
    steps: int = 2048  # steps of all copies together for one update; Schulman et al. (2017)
    round_steps: int = 20_480  # fewest steps of a round, in whole updates
    record: bool = True  # whether the run keeps one whole episode of each round, besides the returns of all

    def __post_init__(self):
        """Refuse numbers below 1, and steps that the copies cannot share."""
        for name in ("environments", "steps", "round_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Rollouts.{name} must be at least 1, got {value}.")
        if self.environments is not None and self.steps % self.environments:
            raise ValueError(f"Rollouts.steps ({self.steps}) must be a multiple of environments ({self.environments}).")

    def count(self, own: bool) -> int:
        """Copies of an environment: those asked for, else a power of two that divides the steps."""
        usual = OWN_COPIES if own else OTHER_COPIES
        return self.environments or int(np.gcd(usual, self.steps))

    @property
    def updates(self) -> int:
        """Updates in a round."""
        return -(-self.round_steps // self.steps)

    def init(self, learner: Learner, env: Env, *, key: PRNGKeyArray) -> OnPolicyState:
        """The state before any experience."""
        learner_key, copies_key = jr.split(key)
        system = own_system(env)
        copies = None if system is None else start_copies(system, self.count(True), key=copies_key)
        return OnPolicyState(initial_state(learner, spaces_of(env), key=learner_key), copies)

    def iterate(self, learner: Learner, state: OnPolicyState, env: Env, *, key: PRNGKeyArray) -> tuple[Any, Info]:
        """One round: experience of the current policy, an update, and so on."""
        system = own_system(env)
        if system is not None:
            return self._on_copies(learner, state, system, env, key)
        return self._on_vector(learner, state, env, key)

    def _on_copies(
        self, learner: Learner, state: OnPolicyState, system: CompiledEnv, env: Env, key: PRNGKeyArray
    ) -> tuple[OnPolicyState, Info]:
        """A round on one of our own systems."""
        learned, copies, told, summaries = state.learner, state.copies, [], []
        assert copies is not None
        steps = self.steps // copies.t.shape[0]
        for i in range(self.updates):
            learned, copies, ended, one = _collect_and_update(
                learner, learned, system, copies, steps, jr.fold_in(key, i)
            )
            told.append(one)
            summaries.append(EpisodeSummary.of(ended))
            report_steps(env, (i + 1) * self.steps, last_return(summaries[-1]))
        metrics = _means(told)
        state, summary = OnPolicyState(learned, copies), joined(summaries)
        if not self.record:
            return state, Info([], metrics, summary=summary)
        episode = collect(system, self._mode(learner, learned), key=jr.fold_in(key, self.updates))
        return state, Info([episode], metrics, summary=summary)

    def _mode(self, learner: Learner, learned: Any) -> Acting:
        """The controller of the recorded episode."""
        return Acting(learner.policy(learned), mode=True)

    def _on_vector(
        self, learner: Learner, state: OnPolicyState, env: Env, key: PRNGKeyArray
    ) -> tuple[OnPolicyState, Info]:
        """A round on environments that are stepped one by one."""
        learned, told = state.learner, []
        run_key, update_key = jr.split(key)
        run = vector_run(env, Acting(learner.policy(learned)), self.count(False), keep=self.record, key=run_key)
        for i in range(self.updates):
            run.controller = Acting(learner.policy(learned))
            while run.recorded < self.steps:
                run.step()
                report_steps(env, run.steps, run.last_return)
            batch = _one_stream(run.batch(self.steps)) if self.record else run.streams()
            learned, metrics = _update(learner, learned, batch, jr.fold_in(update_key, i))
            told.append(metrics)
        if not self.record:
            return OnPolicyState(learned, None), Info([], _means(told), summary=summary_of(run))
        episodes = run.cut()
        kept = max(range(len(run.done)), default=len(episodes) - 1)  # the last whole episode, if there is one
        others = EpisodeSummary.of_episodes([e for i, e in enumerate(episodes) if i != kept])
        return OnPolicyState(learned, None), Info([episodes[kept]], _means(told), summary=others)


def with_first_policy(state: OnPolicyState, policy: Any) -> OnPolicyState:
    """The state with this policy, before its first update."""
    return eqx.tree_at(lambda s: s.learner.policy, state, policy)


def summary_of(run: VectorRun) -> EpisodeSummary:
    """The summary of the episodes that ended, and the number of all steps."""
    done = EpisodeSummary.of_episodes([episode for _, episode in run.done])
    return dataclasses.replace(done, steps=run.steps)


def _one_stream(batch: Transition) -> Transition:
    """Steps [T] as one stream [T, 1]."""
    return jax.tree.map(lambda leaf: leaf[:, None], batch)


def vector_run(env: Env, controller: Acting, count: int, *, keep: bool = True, key: PRNGKeyArray) -> VectorRun:
    """Copies of an environment that is not one of our own systems; with `keep`, observations of episodes are kept.

    Raises:
        UsageError: neither one of our systems nor a Gymnasium environment.
    """
    inner = getattr(env, "env", env)
    if not isinstance(inner, GymEnv):
        kind = type(inner).__name__
        raise UsageError(f"this learner collects from Gymnasium environments and from our own systems, not a {kind}.")
    return VectorRun(inner.vector(count), controller, rules=inner, keep=keep, key=key)


def last_return(summary: EpisodeSummary) -> float:
    """The return of the last episode that ended; NaN where none did."""
    return float(summary.returns[-1]) if len(summary.returns) else float("nan")


def require_finite(metrics: dict[str, float | None]) -> None:
    """Raise `NumericalFailure` where an update diverged."""
    wrong = [name for name, value in metrics.items() if value is not None and not np.isfinite(value)]
    if wrong:
        raise NumericalFailure(
            f"the learner's {wrong[0]} is not finite ({metrics[wrong[0]]}): its update diverged. Lower "
            "--learner.learning-rate, or scale rewards and observations to order 1."
        )


def _means(told: list[dict[str, Array]]) -> dict[str, float | None]:
    """The mean of each metric over the updates of a round."""
    host = jax.device_get(told)
    metrics: dict[str, float | None] = {name: float(np.mean([one[name] for one in host])) for name in host[0]}
    require_finite(metrics)
    return metrics


def initial_state(learner: Any, spaces: Spaces, *, key: PRNGKeyArray) -> Any:
    """The learner's state before any data, compiled: many small arrays are made much faster so."""
    return eqx.filter_jit(lambda key: learner.init(spaces, key=key))(key)  # the spaces as values, which `init` checks


@eqx.filter_jit
def _collect_and_update(
    learner: Any, learned: Any, system: CompiledEnv, copies: Copies, steps: int, key: PRNGKeyArray
) -> tuple[Any, Copies, Ended, dict[str, Array]]:
    """Experience of the current policy, and an update on it."""
    act_key, update_key = jr.split(key)
    policy = learner.policy(learned)
    copies, rows, ended = advance_copies(
        system, copies, lambda x, *, key: policy(x).sample(key=key), steps, key=act_key
    )
    learned, metrics = learner.update(learned, rows, key=update_key)
    return learned, copies, ended, metrics


@eqx.filter_jit
def _update(learner: Any, learned: Any, batch: Transition, key: PRNGKeyArray) -> tuple[Any, dict[str, Array]]:
    """An update on streams of steps [T, B]."""
    return learner.update(learned, jax.tree.map(jnp.asarray, batch), key=key)
