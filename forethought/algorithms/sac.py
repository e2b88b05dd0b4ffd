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

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.off_policy import (
    Metrics,
    episodes_with_updates,
    first_buffer,
    means_of,
    updated,
    updates_due,
    with_room,
)
from forethought.algorithms.on_policy import initial_state, last_return
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Conditional, Controller, Transition
from forethought.core.settings import settings
from forethought.envs.compiled import CompiledEnv
from forethought.envs.env import Env, collect, report_steps, spaces_of
from forethought.envs.parallel import (
    Copies,
    Ended,
    EpisodeSummary,
    advance_copies,
    joined,
    own_system,
    start_copies,
)
from forethought.learners.sac import SACLearner, SACState
from forethought.policies.acting import Acting
from forethought.policies.network import SquashedGaussianPolicy
from forethought.policies.uniform import Uniform

Update = Callable[..., tuple[SACState, Metrics]]  # update(state, batch, key=key)
CRITIC_UPDATES = 2000  # before a given policy is improved: with untrained critics its first updates would undo it


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
        buffer = first_buffer(spaces, self.capacity)
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

    def policy_of(self, state: SACRunState) -> SquashedGaussianPolicy:
        """See `StartsFromPolicy`."""
        return self.learner.policy(state.learner)

    def with_policy(self, state: SACRunState, policy: Conditional, experience: Transition | None = None) -> SACRunState:
        """See `StartsFromPolicy`; the critics first learn from the experience, while the policy stays.

        Without experience the first `random_steps` are left out, and the critics learn together with the policy.
        """
        learner = eqx.tree_at(lambda s: s.policy, state.learner, policy)
        steps = jnp.maximum(state.steps, self.random_steps)
        if experience is None:
            return SACRunState(learner, state.buffer, steps, state.copies)
        buffer = with_room(state.buffer, len(experience), self.capacity).append(experience, episode=0)
        learner = _with_trained_critics(self.learner, learner, buffer, jnp.asarray(CRITIC_UPDATES), jr.key(0))
        return SACRunState(learner, buffer, steps, state.copies)

    def _on_copies(
        self, state: SACRunState, system: CompiledEnv, env: Env, key: PRNGKeyArray
    ) -> tuple[SACRunState, Info]:
        """A round on one of our own systems."""
        blocks = -(-self.round_steps // self.block)
        state, told, summaries = self._with_room(state, blocks * self.block), [], []
        for i in range(blocks):
            exploring = int(state.steps) < self.random_steps
            updates = 0 if exploring else updates_due(int(state.steps), self.block, self.updates_per_step)
            fixed = (self, system, jnp.asarray(exploring), jnp.asarray(updates), jr.fold_in(key, i))
            state, ended, metrics = _collect_and_update(fixed, state)
            summaries.append(EpisodeSummary.of(ended))
            told.append((updates, metrics))
            report_steps(env, (i + 1) * self.block, last_return(summaries[-1]))
        episode = collect(system, self.controller(state, env), key=jr.fold_in(key, blocks))
        return state, Info([episode], means_of(told), summary=joined(summaries))

    def _on_episodes(self, state: SACRunState, env: Env, key: PRNGKeyArray) -> tuple[SACRunState, Info]:
        """A round of whole episodes on an environment that is stepped one by one."""
        told: list[tuple[int, Metrics]] = []

        def learn(state: SACRunState, piece: Transition, key: PRNGKeyArray) -> SACRunState:
            before, steps = int(state.steps), len(piece)
            updates = 0 if before < self.random_steps else updates_due(before, steps, self.updates_per_step)
            fixed = (self, _on_device(piece, self.block), jnp.asarray(steps), jnp.asarray(updates), key)
            state, metrics = _append_and_update(fixed, state)
            told.append((updates, metrics))
            return state

        def controller(state: SACRunState) -> Controller:
            exploring = int(state.steps) < self.random_steps
            return Uniform(env.task.action_space) if exploring else Acting(self.learner.policy(state.learner))

        state, episodes = episodes_with_updates(
            env,
            self._with_room(state, self.round_steps + env.task.horizon),
            controller=controller,
            learn=learn,
            block=self.block,
            least_steps=self.round_steps,
            key=key,
        )
        return state, Info(episodes, means_of(told))

    def _with_room(self, state: SACRunState, rows: int) -> SACRunState:
        """The state with a buffer that has room for `rows` more, and arrays of its own: those of blocks are reused."""
        buffer = with_room(state.buffer, rows, self.capacity)
        return jax.tree.map(jnp.copy, eqx.tree_at(lambda s: s.buffer, state, buffer))


def _on_device(piece: Transition, size: int) -> Transition:
    """A piece of an episode with `size` rows, so that pieces of all lengths share a compiled program."""

    def padded(leaf: np.ndarray) -> Array:
        return jnp.asarray(np.pad(leaf, [(0, size - len(leaf))] + [(0, 0)] * (leaf.ndim - 1)))

    return jax.tree.map(padded, piece)


# The state is given up: its buffer, up to hundreds of megabytes, is written to in place.
@eqx.filter_jit(donate="all-except-first")
def _collect_and_update(
    fixed: tuple[SAC, CompiledEnv, Array, Array, PRNGKeyArray], state: SACRunState
) -> tuple[SACRunState, Ended, Metrics]:
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
    learner, metrics = _updated(
        algorithm.learner.update, algorithm.learner.batch, state.learner, buffer, updates, update_key
    )
    return SACRunState(learner, buffer, state.steps + algorithm.block, copies), ended, metrics


@eqx.filter_jit(donate="all-except-first")
def _append_and_update(
    fixed: tuple[SAC, Transition, Array, Array, PRNGKeyArray], state: SACRunState
) -> tuple[SACRunState, Metrics]:
    """The first `count` rows are appended, then updates."""
    algorithm, rows, count, updates, key = fixed
    buffer = state.buffer.append(rows, where=jnp.arange(algorithm.block) < count)
    learner, metrics = _updated(algorithm.learner.update, algorithm.learner.batch, state.learner, buffer, updates, key)
    return SACRunState(learner, buffer, state.steps + count, None), metrics


@eqx.filter_jit
def _with_trained_critics(
    learner: SACLearner, state: SACState, buffer: Buffer, updates: Array, key: PRNGKeyArray
) -> SACState:
    """The state after updates of the critics alone."""
    return _updated(learner.update_critics, learner.batch, state, buffer, updates, key)[0]


def _updated(
    update: Update, rows: int, state: SACState, buffer: Buffer, updates: Array, key: PRNGKeyArray
) -> tuple[SACState, Metrics]:
    """`updates` gradient steps on batches of `rows` rows from the buffer."""

    def step(state: SACState, key: PRNGKeyArray) -> tuple[SACState, Metrics]:
        sample_key, update_key = jr.split(key)
        return update(state, buffer.sample(rows, key=sample_key), key=update_key)

    return updated(step, state, updates, key)
