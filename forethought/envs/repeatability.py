"""Tests whether an episode depends only on its keys and actions, and not on earlier episodes."""

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Transition
from forethought.envs.env import Env
from forethought.envs.random_actions import RandomActions

TRIED_STEPS = 20  # maximum length of each of the three episodes


def carries_state(env: Env, *, steps: int = TRIED_STEPS, key: PRNGKeyArray) -> str | None:
    """The difference between an episode and its repetition after another episode, in words; None if they are equal.

    Runs three short episodes of random actions: one, another one, and the first again with the same keys and hence the
    same actions.  They differ if the environment keeps information across resets (such as a running normalization or
    an unseeded generator) that affects the first `steps` steps; a run on such an environment cannot be resumed exactly.

    Args:
        env: the environment; its state, if it has any, changes.
        steps: maximum length of each episode.
        key: seeds the episodes.
    Raises:
        EnvironmentFailure: as in `Env.run`.
    """
    one_key, other_key = jr.split(key)
    controller = RandomActions(env.task.action_space)
    first = env.run(controller, key=one_key, steps=steps)
    env.run(controller, key=other_key, steps=steps)
    step = first_difference(first, env.run(controller, key=one_key, steps=steps))
    if step is None:
        return None
    return (
        "the same seed gave a different initial state"
        if step == 0
        else f"the same seed and actions gave a different result at step {step}"
    )


def first_difference(first: Transition, again: Transition) -> int | None:
    """The first step, counted from 1, in which two episodes differ; 0 for the initial state, None if they are equal."""
    if not np.array_equal(first.x[0], again.x[0]):
        return 0
    pairs = list(zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True))
    for t in range(min(len(first), len(again))):
        if not all(np.array_equal(a[t], b[t]) for a, b in pairs):
            return t + 1
    return None if len(first) == len(again) else min(len(first), len(again)) + 1
