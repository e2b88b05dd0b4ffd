"""Experience and updates in turns: what SAC and the algorithms that train a learner on imagined experience share."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray

from forethought.algorithms.on_policy import require_finite
from forethought.core import Buffer, Controller, Spaces, Transition
from forethought.envs.env import Env
from forethought.envs.episode import join_pieces

FIRST_CAPACITY, GROWTH = 1 << 14, 4  # rows of a ring at first; the factor by which it grows until it has them all

Metrics = dict[str, Array]
Step = Callable[[Any, PRNGKeyArray], tuple[Any, Metrics]]  # step(learner's state, key): one update on one batch


def episodes_with_updates(
    env: Env,
    state: Any,
    *,
    controller: Callable[[Any], Controller],
    learn: Callable[[Any, Transition, PRNGKeyArray], Any],
    block: int,
    least_steps: int,
    key: PRNGKeyArray,
) -> tuple[Any, list[Transition]]:
    """Whole episodes of at least `least_steps` steps together; after each block of steps the state is updated.

    Args:
        env: the environment.
        state: what is learned.
        controller: what acts, given the state.
        learn: the state after up to `block` more steps [k] of one episode, given the state and them.
        block: steps between updates.
        least_steps: fewest steps.
        key: random key.
    """
    episodes: list[Transition] = []
    while sum(len(episode) for episode in episodes) < least_steps:
        episode_key, update_key = jr.split(jr.fold_in(key, len(episodes)))
        episode, pieces = env.start(key=episode_key), []
        while not episode.over:
            pieces.append(episode.advance(controller(state), steps=block))
            state = learn(state, pieces[-1], jr.fold_in(update_key, len(pieces)))
        episodes.append(join_pieces(pieces))
    return state, episodes


def updates_due(before: int, steps: int, per_step: float) -> int:
    """Updates after `steps` steps that follow `before` others: their share of the total, rounded down."""
    return int((before + steps) * per_step) - int(before * per_step)


def first_buffer(spaces: Spaces, capacity: int) -> Buffer:
    """An empty ring that grows up to `capacity` rows."""
    return Buffer.like(spaces.example(), min(FIRST_CAPACITY, capacity), ring=True)


def with_room(buffer: Buffer, rows: int, most: int) -> Buffer:
    """The ring with room for `rows` more, but a capacity of at most `most`."""
    capacity = buffer.capacity
    while capacity < most and int(buffer.size) + rows > capacity:
        capacity = min(GROWTH * capacity, most)
    return buffer.with_capacity(capacity) if capacity > buffer.capacity else buffer


def updated(step: Step, state: Any, updates: Array, key: PRNGKeyArray) -> tuple[Any, Metrics]:
    """`updates` updates in a compiled loop, and the means of their metrics; to be compiled by the caller."""

    def once(i: Array, at: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
        state, total = at
        state, told = step(state, jr.fold_in(key, i))
        return state, jax.tree.map(jnp.add, total, told)

    example = jax.eval_shape(lambda state, key: step(state, key)[1], state, key)
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), example)
    state, total = jax.lax.fori_loop(0, updates, once, (state, zeros))
    return state, jax.tree.map(lambda sum_: sum_ / jnp.maximum(updates, 1), total)


def means_of(told: list[tuple[int, Metrics]]) -> dict[str, float | None]:
    """The mean of each metric over the updates of a round, given the number and the means of each block.

    Raises:
        NumericalFailure: a mean is not finite.
    """
    host = [(count, metrics) for count, metrics in jax.device_get(told) if count]
    if not host:
        return {}
    total = sum(count for count, _ in host)
    metrics: dict[str, float | None] = {
        name: float(sum(count * one[name] for count, one in host) / total) for name in host[0][1]
    }
    require_finite(metrics)
    return metrics
