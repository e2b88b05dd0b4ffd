"""Whether an episode depends on its keys and actions alone, or on the episodes before it too."""

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Transition
from forethought.envs.env import Env
from forethought.envs.random_actions import RandomActions

TRIED_STEPS = 20  # of each of the three episodes


def carries_state(env: Env, *, steps: int = TRIED_STEPS, key: PRNGKeyArray) -> str | None:
    """What differs when an episode is run again after another one; None where nothing does.

    Three short episodes of random actions, cheap enough for the start of a run: one, another one, and the first again
    with the same keys and so the same actions.  An environment in which something survives a reset (a running
    normalization, a generator that is not seeded) is noticed if that shows within `steps`; a run on such an environment
    cannot be resumed exactly.

    Args:
        env: what is tried; its own state, where it has one, is changed by that.
        steps: the length of each episode, at most.
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
        "the same seed gave another first state" if step == 0 else f"the same seed and actions gave another step {step}"
    )


def first_difference(first: Transition, again: Transition) -> int | None:
    """The first step, counted from 1, in which two episodes differ; 0: in their first state, None: nowhere."""
    if not np.array_equal(first.x[0], again.x[0]):
        return 0
    pairs = list(zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True))
    for t in range(min(len(first), len(again))):
        if not all(np.array_equal(a[t], b[t]) for a, b in pairs):
            return t + 1
    return None if len(first) == len(again) else min(len(first), len(again)) + 1
