"""SAC: soft actor-critic.  Model-free, learns from all its experience; continuous actions, vectors.

After the first steps, whose actions are random, every block of experience is followed by a block of updates, as many
as it has steps.  On our own systems the copies, the policy and the updates are one compiled function, the copies'
states are part of the algorithm's state, and of the experience only returns and lengths are recorded, beside one
episode in each round in which the policy acts by its mode.  On other environments a round is whole episodes of one
environment, all of them recorded.
Source: Haarnoja et al. (2018), Soft actor-critic algorithms and applications, algorithm 1.  The update is in
learners/sac.py.
Differs: the policy is fixed during a block (`block`; 1 as in the paper).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.on_policy import initial_state, last_return, require_finite
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env, collect, report_steps, spaces_of
from forethought.envs.episode import join_pieces
from forethought.envs.parallel import (
    Copies,
    Ended,
    EpisodeSummary,
    advance_copies,
    joined,
    own_system,
    start_copies,
)
from forethought.envs.system_env import SystemEnv
from forethought.learners.sac import SACLearner, SACState
from forethought.policies.acting import Acting
from forethought.policies.uniform import Uniform

FIRST_CAPACITY, GROWTH = 1 << 14, 4  # rows of the ring at first; the factor by which it grows until it has them all


class SACRunState(eqx.Module):
    """What was learned, the experience, and where the copies of one of our own systems are (None for others)."""

    learner: SACState
    buffer: Buffer
    steps: Int[Array, ""]  # of experience
    copies: Copies | None


@settings
class SAC:
    """Settings of SAC."""

    learner: SACLearner = SACLearner()
    capacity: int = 1_000_000  # newest steps that are learned from; Haarnoja et al. (2018), appendix D
    random_steps: int = 1000  # first steps, whose actions are random, without updates; Haarnoja et al.'s code
    block: int = 10  # steps between blocks of updates (1 in Haarnoja et al. 2018, 50 in OpenAI Spinning Up)
    updates_per_step: float = 1.0  # gradient steps for each step of experience; Haarnoja et al. (2018), appendix D
    environments: int = 1  # copies side by side, on our own systems; their steps are part of the block
    round_steps: int = 1000  # fewest steps of a round

    def __post_init__(self):
        """Refuse settings out of range."""
        for name in ("capacity", "block", "environments", "round_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"SAC.{name} must be at least 1, got {getattr(self, name)}.")
        if self.random_steps < 0 or self.updates_per_step < 0:
            raise ValueError("SAC.random_steps and SAC.updates_per_step must not be negative.")
        if self.block % self.environments:
            raise ValueError(f"SAC.block ({self.block}) must be a multiple of environments ({self.environments}).")

    def init(self, env: Env, *, key: PRNGKeyArray) -> SACRunState:
        """An untrained policy and no experience."""
        learner_key, copies_key = jr.split(key)
        spaces, system = spaces_of(env), own_system(env)
        learner = initial_state(self.learner, spaces, key=learner_key)
        buffer = Buffer.like(spaces.example(), min(FIRST_CAPACITY, self.capacity), ring=True)
        copies = None if system is None else start_copies(system, self.environments, key=copies_key)
        return SACRunState(learner, buffer, jnp.zeros((), jnp.int32), copies)

    def iterate(self, state: SACRunState, env: Env, *, key: PRNGKeyArray) -> tuple[SACRunState, Info]:
        """One round of experience and updates."""
        system = own_system(env)
        if system is not None:
            return self._on_copies(state, system, env, key)
        return self._on_episodes(state, env, key)

    def controller(self, state: SACRunState, env: Env) -> Controller:
        """The policy's mode."""
        del env
        return Acting(self.learner.policy(state.learner), mode=True)

    def _on_copies(
        self, state: SACRunState, system: SystemEnv, env: Env, key: PRNGKeyArray
    ) -> tuple[SACRunState, Info]:
        """A round on one of our own systems."""
        blocks = -(-self.round_steps // self.block)
        state, told, summaries = self._with_room(state, blocks * self.block), [], []
        for i in range(blocks):
            exploring = int(state.steps) < self.random_steps
            updates = 0 if exploring else self._updates(int(state.steps), self.block)
            fixed = (self, system, jnp.asarray(exploring), jnp.asarray(updates), jr.fold_in(key, i))
            state, ended, metrics = _collect_and_update(fixed, state)
            summaries.append(EpisodeSummary.of(ended))
            told.append((updates, metrics))
            report_steps(env, (i + 1) * self.block, last_return(summaries[-1]))
        episode = collect(system, self.controller(state, env), key=jr.fold_in(key, blocks))
        return state, Info([episode], _means(told), summary=joined(summaries))

    def _on_episodes(self, state: SACRunState, env: Env, key: PRNGKeyArray) -> tuple[SACRunState, Info]:
        """A round of whole episodes on an environment that is stepped one by one."""
        state, told, done = self._with_room(state, self.round_steps + env.task.horizon), [], 0
        episodes: list[Transition] = []
        while done < self.round_steps:
            episode_key, update_key = jr.split(jr.fold_in(key, len(episodes)))
            episode, pieces = env.start(key=episode_key), []
            while not episode.over:
                exploring = int(state.steps) < self.random_steps
                policy = self.learner.policy(state.learner)
                controller = Uniform(env.task.action_space) if exploring else Acting(policy)
                piece = episode.advance(controller, steps=self.block)
                pieces.append(piece)
                updates = 0 if exploring else self._updates(int(state.steps), len(piece))
                counts = (jnp.asarray(len(piece)), jnp.asarray(updates), jr.fold_in(update_key, len(pieces)))
                rows = jax.tree.map(jnp.asarray, _padded(piece, self.block))
                state, metrics = _append_and_update((self, rows, *counts), state)
                told.append((updates, metrics))
            episodes.append(join_pieces(pieces))
            done += len(episodes[-1])
        return state, Info(episodes, _means(told))

    def _updates(self, before: int, steps: int) -> int:
        """Updates after `steps` steps that follow `before` others: their share of the total, rounded down."""
        return int((before + steps) * self.updates_per_step) - int(before * self.updates_per_step)

    def _with_room(self, state: SACRunState, rows: int) -> SACRunState:
        """The state with a buffer that has room for `rows` more, and arrays of its own: those of blocks are reused."""
        buffer, capacity = state.buffer, state.buffer.capacity
        while capacity < self.capacity and int(buffer.size) + rows > capacity:
            capacity = min(GROWTH * capacity, self.capacity)
        buffer = buffer.with_capacity(capacity) if capacity > buffer.capacity else buffer
        return jax.tree.map(jnp.copy, eqx.tree_at(lambda s: s.buffer, state, buffer))


def _means(told: list[tuple[int, dict[str, Array]]]) -> dict[str, float | None]:
    """The mean of each metric over the updates of a round; None where there were none."""
    host = [(count, metrics) for count, metrics in jax.device_get(told) if count]
    if not host:
        return {}
    total = sum(count for count, _ in host)
    metrics: dict[str, float | None] = {
        name: float(sum(count * one[name] for count, one in host) / total) for name in host[0][1]
    }
    require_finite(metrics)
    return metrics


def _padded(piece: Transition, size: int) -> Transition:
    """A piece of an episode with `size` rows, so that pieces of all lengths share a compiled program."""
    return jax.tree.map(lambda leaf: np.pad(leaf, [(0, size - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)), piece)


# The state is given up: its buffer, up to hundreds of megabytes, is written to in place.
@eqx.filter_jit(donate="all-except-first")
def _collect_and_update(
    fixed: tuple[SAC, SystemEnv, Array, Array, PRNGKeyArray], state: SACRunState
) -> tuple[SACRunState, Ended, dict[str, Array]]:
    """A block of experience of the copies, then updates."""
    algorithm, system, exploring, updates, key = fixed
    act_key, update_key = jr.split(key)
    policy, actions = algorithm.learner.policy(state.learner), system.task.action_space

    def act(x: Array, *, key: PRNGKeyArray) -> Array:
        return jnp.where(exploring, actions.sample(key=key), policy(x).sample(key=key))

    steps = algorithm.block // algorithm.environments
    assert state.copies is not None
    copies, rows, ended = advance_copies(system, state.copies, act, steps, key=act_key)
    buffer = state.buffer.append(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows))
    learner, metrics = _updated(algorithm.learner, state.learner, buffer, updates, update_key)
    return SACRunState(learner, buffer, state.steps + algorithm.block, copies), ended, metrics


@eqx.filter_jit(donate="all-except-first")
def _append_and_update(
    fixed: tuple[SAC, Transition, Array, Array, PRNGKeyArray], state: SACRunState
) -> tuple[SACRunState, dict[str, Array]]:
    """The first `count` rows are appended, then updates."""
    algorithm, rows, count, updates, key = fixed
    buffer = state.buffer.append(rows, where=jnp.arange(algorithm.block) < count)
    learner, metrics = _updated(algorithm.learner, state.learner, buffer, updates, key)
    return SACRunState(learner, buffer, state.steps + count, None), metrics


def _updated(
    learner: SACLearner, state: SACState, buffer: Buffer, updates: Array, key: PRNGKeyArray
) -> tuple[SACState, dict[str, Array]]:
    """`updates` gradient steps on batches from the buffer, and the means of what they tell."""

    def once(i: Array, at: tuple[SACState, dict[str, Array]]) -> tuple[SACState, dict[str, Array]]:
        state, total = at
        sample_key, update_key = jr.split(jr.fold_in(key, i))
        state, told = learner.update(state, buffer.sample(learner.batch, key=sample_key), key=update_key)
        return state, jax.tree.map(jnp.add, total, told)

    example = jax.eval_shape(lambda s, k: learner.update(s, buffer.sample(learner.batch, key=k), key=k)[1], state, key)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), example)
    state, total = jax.lax.fori_loop(0, updates, once, (state, zeros))
    return state, jax.tree.map(lambda sum_: sum_ / jnp.maximum(updates, 1), total)
