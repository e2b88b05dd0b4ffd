"""Many copies of one compiled environment, stepped together inside a compiled loop.

Symbols: B copies; T steps of each.  An episode that ends is followed by a new one at once; the rows keep the last
observation of the old one as `x_next` and begin the new one with the next `x`, so no reset is ever a transition.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray, Shaped

from forethought.core import Transition
from forethought.envs.compiled import CompiledEnv, CompiledSystem
from forethought.envs.env import Env

Act = Callable[..., Shaped[Array, "*m"]]  # act(x, key=key) -> action, for one copy


class Copies(eqx.Module):
    """B copies in the middle of their episodes."""

    x: Any  # states, each leaf [B, ...]
    seen: Shaped[Array, "B *n"]  # observations of them
    t: Int[Array, "B"]  # steps of the running episodes
    end: Int[Array, "B"]  # steps after which they are truncated
    total: Float[Array, "B"]  # returns of the running episodes


class Ended(eqx.Module):
    """The episodes that ended at each step: `returns` and `lengths` are meant where `over` is True."""

    over: Bool[Array, "*T B"]
    returns: Float[Array, "*T B"]
    lengths: Int[Array, "*T B"]


@dataclass(frozen=True)
class EpisodeSummary:
    """Episodes of which only returns and lengths are kept."""

    returns: Float[np.ndarray, "k"]  # of the episodes that ended, in the order in which they did
    lengths: Int[np.ndarray, "k"]  # steps of each
    steps: int  # all steps done, those of unfinished episodes too

    @staticmethod
    def of_episodes(episodes: Sequence[Transition]) -> "EpisodeSummary":
        """The summary of whole episodes, each with leading axis [T]."""
        returns = np.array([np.sum(episode.reward, dtype=np.float64) for episode in episodes])
        lengths = np.array([len(episode) for episode in episodes], int)
        return EpisodeSummary(returns, lengths, int(lengths.sum()))

    @staticmethod
    def of(ended: Ended) -> "EpisodeSummary":
        """The summary of T steps of B copies."""
        over = np.asarray(ended.over)
        returns, lengths = np.asarray(ended.returns)[over], np.asarray(ended.lengths)[over]
        return EpisodeSummary(returns, lengths, int(over.size))


def own_system(env: Env) -> CompiledEnv | None:
    """The compiled environment that `env` is, or monitors; None for other environments."""
    inner = getattr(env, "env", env)
    return inner if isinstance(inner, CompiledEnv) else None


def start_copies(env: CompiledEnv, count: int, *, key: PRNGKeyArray) -> Copies:
    """`count` copies in initial states.

    Their first episodes are truncated after different numbers of steps, evenly spread up to the horizon: otherwise all
    copies would be at the same step of their episodes for ever.
    """
    start_key, sensor_key = jr.split(key)
    x, seen = _initial(env.system, jr.split(start_key, count), jr.split(sensor_key, count))
    horizon = env.task.horizon
    end = jnp.ceil(horizon * jnp.arange(1, count + 1) / count).astype(jnp.int32)
    return Copies(x, seen, jnp.zeros(count, jnp.int32), jnp.maximum(end, 1), jnp.zeros(count, jnp.result_type(float)))


def advance_copies(
    env: CompiledEnv, copies: Copies, act: Act, steps: int, *, key: PRNGKeyArray
) -> tuple[Copies, Transition, Ended]:
    """`steps` steps of every copy, to be compiled by the caller.

    Args:
        env: the environment.
        copies: where they are.
        act: chooses the action of one copy: `act(x, key=key)`.
        steps: T.
        key: random key.
    Returns:
        Where the copies are then, rows with leading axes [T, B], and the episodes that ended.
    """

    def step(copies: Copies, key: PRNGKeyArray) -> tuple[Copies, tuple[Transition, Ended]]:
        act_key, noise_key, reset_key, sensor_key = jr.split(key, 4)
        count = copies.t.shape[0]
        wishes = jax.vmap(lambda x, key: act(x, key=key))(copies.seen, jr.split(act_key, count))
        x, done = jax.vmap(lambda *at: env.system.step(*at[:-1], key=at[-1]))(
            copies.x, copies.seen, wishes, copies.t, jr.split(noise_key, count)
        )
        row, t, total = done.row, copies.t + 1, copies.total + done.row.reward
        cut = (t >= copies.end) & ~row.terminated
        over = cut | row.terminated
        row = eqx.tree_at(lambda r: r.truncated, row, cut)
        new = jax.lax.cond(
            jnp.any(over),
            lambda: _initial(env.system, jr.split(reset_key, count), jr.split(sensor_key, count)),
            lambda: (x, row.x_next),
        )
        x, seen = jax.tree.map(lambda a, b: jnp.where(_column(over, a), a, b), new, (x, row.x_next))
        after = Copies(
            x,
            seen,
            jnp.where(over, 0, t),
            jnp.where(over, env.task.horizon, copies.end),
            jnp.where(over, 0, total),
        )
        return after, (row, Ended(over, total, t))

    copies, (rows, ended) = jax.lax.scan(step, copies, jr.split(key, steps))
    return copies, rows, ended


@eqx.filter_jit
def _initial(
    system: CompiledSystem, start_keys: Key[Array, "B"], sensor_keys: Key[Array, "B"]
) -> tuple[Any, Shaped[Array, "B *n"]]:
    """Initial states and their observations."""
    return jax.vmap(lambda key, sensor_key: system.first(key=key, sensor_key=sensor_key))(start_keys, sensor_keys)


def _column(over: Bool[Array, "B"], like: Shaped[Array, "B *n"]) -> Bool[Array, "B ..."]:
    """`over` with as many axes as `like`."""
    return over.reshape(-1, *(1,) * (like.ndim - 1))


def joined(summaries: list[EpisodeSummary]) -> EpisodeSummary:
    """Several summaries in order, as one."""
    return EpisodeSummary(
        np.concatenate([s.returns for s in summaries]) if summaries else np.zeros(0),
        np.concatenate([s.lengths for s in summaries]) if summaries else np.zeros(0, int),
        sum(s.steps for s in summaries),
    )
