"""Whole experiments of tabular algorithms on known tables, compiled; `jax.vmap` over keys gives independent runs.

The agent sees only transitions; the tables stand for the environment.  `forethought train` runs the same `learn` step
by step on the environment itself.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.algorithms.tabular import TabularAlgorithm
from forethought.core import Transition
from forethought.envs.grids.tabular_mdp import TabularMDP, select
from forethought.policies.epsilon_greedy import epsilon_greedy

Score = Callable[[Float[Array, "S A"]], Float[Array, ""]]  # of a table Q, after an episode


class Agent(eqx.Module):
    """The algorithm's state, and where it is in which episode."""

    learned: Any
    s: Int[Array, ""]
    phase: Int[Array, ""]  # of the environment
    t: Int[Array, ""]  # steps of this episode
    steps: Int[Array, ""]  # of all episodes


class Step(eqx.Module):
    """One real step: its reward, and whether it ended the episode."""

    reward: Float[Array, "*b"]
    over: Bool[Array, "*b"]


class Episodes(eqx.Module):
    """What happened in each episode, and the score of Q after it; all zero where it was not run."""

    length: Int[Array, "*E"]
    reward: Float[Array, "*E"]  # undiscounted sum
    updates: Int[Array, "*E"]  # of Q since the beginning
    score: Float[Array, "*E"]


def start(algorithm: TabularAlgorithm, mdp: TabularMDP, *, key: PRNGKeyArray) -> Agent:
    """An agent without experience, at the beginning of an episode."""
    zero = jnp.zeros((), jnp.int32)
    return Agent(algorithm.empty(mdp.states, mdp.actions), mdp.first(jr.uniform(key)), mdp.phase(zero), zero, zero)


def step(
    algorithm: TabularAlgorithm, mdp: TabularMDP, agent: Agent, u: Float[Array, "3"], *, key: PRNGKeyArray
) -> tuple[Agent, Step]:
    """One real step, what is learned from it, and the beginning of the next episode where this one ended.

    Args:
        algorithm: settings.
        mdp: the environment.
        agent: before the step.
        u: uniform in [0, 1); choose the action, what follows it, and the state in which a new episode begins.
        key: random key of the learning.
    """
    act, move, begin = u
    a = select(epsilon_greedy(agent.learned.q[agent.s], algorithm.epsilon), act)
    s_next, reward, terminated = mdp.step(agent.phase, agent.s, a, move)
    t, steps = agent.t + 1, agent.steps + 1
    truncated = (t >= mdp.horizon) & ~terminated
    learned = algorithm.learn(agent.learned, Transition(agent.s, a, s_next, reward, terminated, truncated), key=key)
    over = terminated | truncated
    s_next = jnp.where(over, mdp.first(begin), s_next)
    phase = jnp.where(over, mdp.phase(steps), agent.phase)
    return Agent(learned, s_next, phase, jnp.where(over, 0, t), steps), Step(reward, over)


@eqx.filter_jit
def run_steps(algorithm: TabularAlgorithm, mdp: TabularMDP, steps: int, *, key: PRNGKeyArray) -> tuple[Any, Step]:
    """The state after `steps` real steps, and each of them, leading axis [T]."""
    start_key, draw_key, learn_key = jr.split(key, 3)
    draws = jr.uniform(draw_key, (steps, 3)), jr.split(learn_key, steps)
    agent = start(algorithm, mdp, key=start_key)
    agent, told = jax.lax.scan(lambda agent, at: step(algorithm, mdp, agent, at[0], key=at[1]), agent, draws)
    return agent.learned, told


@eqx.filter_jit
def run_episodes(
    algorithm: TabularAlgorithm,
    mdp: TabularMDP,
    episodes: int,
    score: Score,
    *,
    enough: float = jnp.inf,
    key: PRNGKeyArray,
) -> tuple[Any, Episodes]:
    """The state after some episodes, and what happened in each.

    Args:
        algorithm: settings.
        mdp: the environment.
        episodes: E, at most.
        score: of Q after an episode.
        enough: no further episode begins once the score is at least this.
        key: random key.
    """
    start_key, draw_key, learn_key = jr.split(key, 3)

    def episode(carry: tuple[Agent, Array], _: None) -> tuple[tuple[Agent, Array], Episodes]:
        agent, reached = carry

        def wanted(at: tuple[Agent, Array, Array]) -> Array:
            return ~at[2]

        def once(at: tuple[Agent, Array, Array]) -> tuple[Agent, Array, Array]:
            agent, total, _ = at
            u, key = jr.uniform(jr.fold_in(draw_key, agent.steps), (3,)), jr.fold_in(learn_key, agent.steps)
            agent, told = step(algorithm, mdp, agent, u, key=key)
            return agent, total + told.reward, told.over

        before = agent.steps
        agent, total, _over = jax.lax.while_loop(wanted, once, (agent, jnp.zeros_like(agent.learned.q[0, 0]), reached))
        value = jnp.where(reached, 0, score(agent.learned.q))
        told = Episodes(agent.steps - before, total, jnp.where(reached, 0, agent.learned.updates), value)
        return (agent, reached | (value >= enough)), told

    first = start(algorithm, mdp, key=start_key), jnp.zeros((), bool)
    (agent, _), episodes_told = jax.lax.scan(episode, first, None, length=episodes)
    return agent.learned, episodes_told


def greedy_steps(q: Float[Array, "S A"], mdp: TabularMDP, most: int, phase: int = 0) -> Float[Array, ""]:
    """Steps of the greedy policy from the most probable first state to a terminal one; `most` + 1 if it takes more."""

    def wanted(at: tuple[Array, Array, Array]) -> Array:
        return ~at[1] & (at[2] <= most)

    def once(at: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        s, _, t = at
        a = jnp.argmax(q[s])
        b = jnp.argmax(mdp.probability[phase, s, a])
        return mdp.x_next[phase, s, a, b], mdp.terminal[phase, s, a, b], t + 1

    first = jnp.argmax(mdp.initial).astype(jnp.int32)
    _, _, t = jax.lax.while_loop(wanted, once, (first, jnp.zeros((), bool), jnp.zeros((), jnp.int32)))
    return t.astype(q.dtype)


def greedy_return(q: Float[Array, "S A"], mdp: TabularMDP, phase: int = 0) -> Float[Array, ""]:
    """The expected undiscounted return of the greedy policy within the time limit, exactly, from the tables."""
    best = jnp.argmax(q, axis=1)[:, None]

    def back(values: Array, _: Any) -> tuple[Array, None]:
        return jnp.take_along_axis(mdp.backup(phase, values, 1.0), best, axis=1)[:, 0], None

    values, _ = jax.lax.scan(back, jnp.zeros(mdp.states, q.dtype), None, length=mdp.horizon)
    return mdp.initial @ values
