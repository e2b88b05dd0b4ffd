"""MBPO: SAC on short rollouts that an ensemble branches off from real states.

After the first steps, whose actions are random, an ensemble is fitted to all real experience at the start of each
round and every `retrain_every` steps of it.  Each fit is followed by many short rollouts of the policy from real
states, which fill a buffer.  Every block of real steps is followed by `updates_per_step` updates of the learner for
each of its steps, on batches that are mostly imagined.  With `rollouts.every` rollouts are also made between updates,
so that the buffer has the states that the policy comes to now.  The learned reward is one more output of the ensemble;
every output is standardized by itself, so the scale of the rewards does not matter to the model.
With `gradient_steps` every update is a short rollout that gradients go through (learners/model_gradient.py), of
which algorithms/value_gradients.py is the published instance.
Source: Janner et al. (2019), When to trust your model: model-based policy optimization, algorithm 2; settings of the
authors' code.
Differs: 5 members, all used, in place of the 5 best of 7; termination is learned, not given; the policy is fixed
during a block of steps; imagined experience is kept for a round, and never more than `rollouts.capacity`, so that
fewer rollouts start when they are long.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from forethought.algorithms.branched_rollouts import Bounds, BranchedRollouts, bounds_of, branch, require_plausible
from forethought.algorithms.experience import require_at_least
from forethought.algorithms.model_learning import Learned, ModelLearning
from forethought.algorithms.off_policy import (
    Metrics,
    episodes_with_updates,
    first_buffer,
    means_of,
    updated,
    updates_due,
    with_room,
)
from forethought.algorithms.on_policy import initial_state
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Problem, Regression, Result, Transition, UsageError
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.envs.env import Env, spaces_of
from forethought.envs.episode import join_pieces
from forethought.learners.model_gradient import update_through_model
from forethought.learners.off_policy import OffPolicyLearner
from forethought.learners.sac import SACLearner, SACState
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.policies.acting import Acting
from forethought.policies.network import require_limits
from forethought.policies.uniform import Uniform


class MBPOState(eqx.Module):
    """What was learned, and the real experience."""

    learner: Any
    buffer: Buffer
    learned: Learned
    steps: Int[Array, ""]  # of real experience
    fitted: Int[Array, ""]  # real steps at the last fit; -1 before the first


@dataclass
class _Round:
    """What a round keeps beside the state: imagined experience, and what is recorded."""

    imagined: Buffer | None = None  # None until the first fit of the round
    bounds: Bounds | None = None  # of imagined states, by the data of the last fit
    updates: int = 0  # of the learner since the last rollouts
    fresh: list[Transition] = field(default_factory=list)  # real steps since the last fit
    told: list[tuple[int, Metrics]] = field(default_factory=list)  # updates, and what they told
    metrics: dict[str, float | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@settings
class MBPO:
    """Settings of model-based policy optimization."""

    learner: OffPolicyLearner = SACLearner()
    model: Regression = Ensemble(hidden=(200, 200, 200, 200), batch=256, patience=5, holdout=0.2)
    classifier: Classifier = Classifier()
    rollouts: BranchedRollouts = BranchedRollouts()
    real_ratio: float = 0.05  # share of real rows in a batch; Janner et al. (2019)
    updates_per_step: float = 20.0  # updates for each real step; Janner et al. (2019), 40 for HalfCheetah
    retrain_every: int = 250  # real steps between fits of the model within a round; Janner et al. (2019)
    random_steps: int = 5000  # first steps, whose actions are random, without updates; Janner et al. (2019)
    catch_up: bool = False  # when the random steps are over, make the updates for them too
    gradient_steps: int = 0  # model steps that gradients go through; 0: none, as in Janner et al. (2019)
    block: int = 10  # real steps between blocks of updates; 1 in Janner et al. (2019)
    capacity: int = 1_000_000  # newest real steps that are learned from
    round_steps: int = 1000  # fewest real steps of a round, collected in whole episodes
    acting: Literal["sampled", "mode"] = "sampled"  # real actions: drawn from the policy, or its mode as in mbrl-lib

    def __post_init__(self):
        """Refuse settings that are out of range or cannot work together."""
        require_at_least(self, retrain_every=1, block=1, round_steps=1, capacity=1, random_steps=1, updates_per_step=0)
        require_at_least(self, gradient_steps=0)
        if not 0 <= self.real_ratio <= 1:
            raise ValueError(f"MBPO.real_ratio must be between 0 and 1, got {self.real_ratio}.")
        if self.gradient_steps and not isinstance(self.learner, SACLearner):
            raise ValueError("MBPO.gradient_steps needs SAC as the learner, whose policy loss it replaces.")
        members = getattr(self.model, "members", 1)
        for name, rows in (("rollouts.batch", self.rollouts.batch), ("learner.batch", self.learner.batch)):
            if rows % members and (name == "rollouts.batch" or self.gradient_steps):
                raise ValueError(f"{name} ({rows}) must be a multiple of model.members ({members}).")

    @property
    def learning(self) -> ModelLearning:
        """Settings of what is learned of the environment."""
        return ModelLearning(self.model, self.classifier)

    @property
    def real_rows(self) -> int:
        """Real rows of a batch."""
        return round(self.real_ratio * self.learner.batch)

    def check_budget(self, env_steps: int) -> None:
        """Raise `UsageError` where a run of `env_steps` real steps learns nothing, or its rollouts cannot grow."""
        if env_steps <= self.random_steps:
            raise UsageError(
                f"the first {self.random_steps:,} steps are random, and the run has {env_steps:,}: nothing would be "
                f"learned. Give --random-steps {max(1, env_steps // 10)}, or more --env-steps."
            )
        self.rollouts.check_budget(env_steps)

    def init(self, env: Env, *, key: PRNGKeyArray) -> MBPOState:
        """An untrained policy and model, and no experience.

        Raises:
            UsageError: discrete actions, or observations that are not vectors.
        """
        learner_key, model_key = jr.split(key)
        spaces = spaces_of(env)
        require_limits(spaces.actions, "MBPO")
        learned = self.learning.init(env, key=model_key)
        learner = initial_state(self.learner, spaces, key=learner_key)
        buffer = first_buffer(spaces, self.capacity)
        return MBPOState(learner, buffer, learned, jnp.zeros((), jnp.int32), jnp.full((), -1, jnp.int32))

    def iterate(self, state: MBPOState, env: Env, *, key: PRNGKeyArray) -> tuple[MBPOState, Info]:
        """Algorithm 2 of Janner et al. (2019), lines 3-10, in blocks of real steps."""
        so_far = _Round()

        def controller(state: MBPOState) -> Controller:
            exploring = int(state.steps) < self.random_steps
            if exploring:
                return Uniform(env.task.action_space)
            return Acting(self.learner.policy(state.learner), mode=self.acting == "mode")

        def learn(state: MBPOState, piece: Transition, key: PRNGKeyArray) -> MBPOState:
            fit_key, branch_key = jr.split(jr.fold_in(key, 1))
            before = int(state.steps)
            state = self._appended(state, piece)
            so_far.fresh.append(piece)
            first = before < self.random_steps
            if int(state.steps) < self.random_steps or (first and not self.catch_up):
                return state
            due = so_far.imagined is None or int(state.steps) - int(state.fitted) >= self.retrain_every
            if due and self.real_rows < self.learner.batch:
                state = self._fit(state, env, so_far, key=fit_key)  # line 4
                self._branch(state, env, so_far, key=branch_key)  # lines 6-8
            since = 0 if first else before
            updates = updates_due(since, int(state.steps) - since, self.updates_per_step)
            return self._learn(state, env, so_far, updates, key)

        state = eqx.tree_at(
            lambda s: s.buffer, state, with_room(state.buffer, self.round_steps + env.task.horizon, self.capacity)
        )
        state, episodes = episodes_with_updates(
            env,
            state,
            controller=controller,
            learn=learn,
            block=self.block,
            least_steps=self.round_steps,
            key=key,
        )
        return state, Info(episodes, {**so_far.metrics, **means_of(so_far.told)}, tuple(so_far.notes))

    def problem(self, state: MBPOState, env: Env) -> Problem:
        """The task with what was learned in place of what is unknown."""
        return state.learned.problem(env)

    def controller(self, state: MBPOState, env: Env) -> Controller:
        """The policy's mode."""
        del env
        return Acting(self.learner.policy(state.learner), mode=True)

    def _fit(self, state: MBPOState, env: Env, so_far: _Round, *, key: PRNGKeyArray) -> MBPOState:
        """The state with a model of all real experience; `model_error` is that of the last one, on the steps since."""
        learner, known = state.learner, int(state.fitted) >= 0
        if known:
            error = state.learned.one_step_error(join_pieces(so_far.fresh), state.buffer)
            so_far.metrics["model_error"] = float(error)
        elif isinstance(self.learner, SACLearner):
            learner = self.learner.scaled(state.learner, jnp.mean(jnp.abs(state.buffer.rows().reward)))
        learned, report = self.learning.fit(state.buffer, state.learned, key=key)
        Result(report.result).throw()
        so_far.metrics |= report.metrics
        so_far.fresh, so_far.bounds = [], bounds_of(state.buffer, self.rollouts.bound, int(env.learn_reward))
        return MBPOState(learner, state.buffer, learned, state.steps, state.steps)

    def _branch(self, state: MBPOState, env: Env, so_far: _Round, *, key: PRNGKeyArray) -> None:
        """Imagined experience from the newest model and policy."""
        steps, settings = int(state.steps), self.rollouts
        interval = self.retrain_every if settings.every is None else settings.every / max(self.updates_per_step, 1e-9)
        length, batches = settings.length(steps), settings.batches(steps, interval)
        assert so_far.bounds is not None, "a model was fitted"
        if so_far.imagined is None:
            so_far.imagined = Buffer.like(spaces_of(env).example(), settings.capacity, ring=True)
            so_far.notes += settings.growth_notes(steps)
        so_far.imagined, counts = branch(
            self.problem(state, env),
            self.learner.policy(state.learner),
            state.buffer,
            so_far.bounds,
            so_far.imagined,
            settings.batch,
            jnp.asarray(batches),
            jnp.asarray(length),
            key,
        )
        so_far.updates = 0
        so_far.notes += require_plausible(counts, settings, length, env.space.names)
        so_far.metrics |= {
            "rollout_length": float(length),
            "imagined_transitions": float(counts.kept),
            "cut_share": counts.cut_share,
            "ended_share": float(counts.ended) / float(counts.started),
        }

    def _learn(self, state: MBPOState, env: Env, so_far: _Round, updates: int, key: PRNGKeyArray) -> MBPOState:
        """The state after `updates` updates of the learner (lines 9-10), with new rollouts between them."""
        problem = self.problem(state, env) if self.gradient_steps else None
        every = None if so_far.imagined is None else self.rollouts.every
        most = every or max(updates, 1)
        for done in range(0, updates, most):
            if every is not None and so_far.updates >= every:
                self._branch(state, env, so_far, key=jr.fold_in(key, 3))
            count = min(most, updates - done)
            learner, told = _learned(
                self.learner,
                self.gradient_steps,
                self.real_rows,
                state.learner,
                state.buffer,
                so_far.imagined,
                problem,
                jnp.asarray(count),
                key,
            )
            so_far.told.append((count, told))
            so_far.updates += count
            state, key = eqx.tree_at(lambda s: s.learner, state, learner), jr.fold_in(key, 2)
        return state

    def _appended(self, state: MBPOState, piece: Transition) -> MBPOState:
        """The state with more real experience."""
        buffer, learner = state.buffer.append(piece, episode=0), state.learner
        if isinstance(self.learner, SACLearner):
            learner = _seen(self.learner, learner, piece.x)
        return MBPOState(learner, buffer, state.learned, state.steps + len(piece), state.fitted)


@eqx.filter_jit
def _seen(learner: SACLearner, state: SACState, xs: Shaped[AnyArray, "N *n"]) -> SACState:
    return learner.seen(state, xs)


@eqx.filter_jit
def _learned(
    learner: Any,
    gradient_steps: int,
    real_rows: int,
    state: Any,
    real: Buffer,
    imagined: Buffer | None,
    problem: Problem | None,
    updates: Int[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Any, Metrics]:
    """`updates` updates on batches of real and imagined rows."""

    def step(state: Any, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        sample_key, update_key = jr.split(key)
        batch = mixed_batch(real, imagined, real_rows, learner.batch, key=sample_key)
        if problem is not None:
            return update_through_model(learner, state, batch.x, problem, gradient_steps, key=update_key)
        return learner.update(state, batch, key=update_key)

    return updated(step, state, updates, key)


def mixed_batch(real: Buffer, imagined: Buffer | None, real_rows: int, rows: int, *, key: PRNGKeyArray) -> Transition:
    """`real_rows` real and then `rows - real_rows` imagined transitions."""
    if real_rows == rows or imagined is None:
        return real.sample(rows, key=key)
    drawn = imagined.sample(rows - real_rows, key=jr.fold_in(key, 1))
    if real_rows == 0:
        return drawn
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), real.sample(real_rows, key=key), drawn)
