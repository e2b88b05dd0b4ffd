"""What a controller would do in states that it, or another one, visits: the data of imitation and of DAgger."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

from forethought.core import Controller, Transition
from forethought.envs.env import Env, collect_episodes


def demonstrate(
    env: Env,
    expert: Controller,
    actor: Controller | None,
    *,
    least_steps: int,
    act_key: PRNGKeyArray,
    label_key: PRNGKeyArray,
) -> list[tuple[Transition, np.ndarray]]:
    """Whole episodes of at least `least_steps` steps, each with the expert's action in every state.

    `actor` runs the episodes; without one the expert does (behavior cloning), and its actions are those it took.
    Source: Ross et al. (2011), A reduction of imitation learning to no-regret online learning, algorithm 3.1.
    """
    episodes = collect_episodes(env, expert if actor is None else actor, least_steps=least_steps, key=act_key)
    if actor is None:
        return [(episode, np.asarray(episode.u)) for episode in episodes]
    keys, longest = [jr.fold_in(label_key, i) for i in range(len(episodes))], env.task.horizon
    return [(one, actions_along(expert, one, longest, key=key)) for one, key in zip(episodes, keys, strict=True)]


def actions_along(
    controller: Controller, episode: Transition, longest: int | None = None, *, key: PRNGKeyArray
) -> Shaped[np.ndarray, "T *m"]:
    """What `controller` would have done in the states of an episode that another one ran, in order, with its memory.

    `longest`: the steps of the longest episode, if known; so many are computed instead of the next power of two.
    """
    steps = 1 << (len(episode) - 1).bit_length()  # episodes of many lengths share a few programs
    if longest is not None and len(episode) <= longest < steps:
        steps = longest
    xs = np.resize(np.asarray(episode.x), (steps, *episode.x.shape[1:]))
    return np.asarray(_actions_along(controller, jnp.asarray(xs), key))[: len(episode)]


@eqx.filter_jit
def _actions_along(controller: Controller, xs: Array, key: PRNGKeyArray) -> Array:
    memory = controller.init(xs[0], key=jr.fold_in(key, xs.shape[0]))
    arrays, static = eqx.partition(memory, eqx.is_array)

    def step(arrays: Any, at: tuple[Array, Array]) -> tuple[Any, Array]:
        x, t = at
        u, memory = controller.act(x, t, eqx.combine(arrays, static), key=jr.fold_in(key, t))
        return strong(eqx.filter(memory, eqx.is_array)), u

    def strong(arrays: Any) -> Any:  # a loop returns the types that it takes
        return jax.tree.map(lambda a: a.astype(a.dtype), arrays)

    return jax.lax.scan(step, strong(arrays), (xs, jnp.arange(xs.shape[0])))[1]
