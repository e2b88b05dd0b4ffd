"""Rollouts from given initial conditions: what local models are fitted to.

Symbols: C conditions, N rollouts of each, T steps.  An action `u` here is the one that the controller asked for; the
environment clips it to its limits, so that the limits are a part of the dynamics that are fitted.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Controller, HasInitialStates, Transition, UsageError, require_box
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.policies.exploration import Disturbed, smoothing_matrix

SENSOR_STDS = 6.0  # standard deviations of sensor noise within which two readings are of one initial state


@settings
class Conditions:
    """The initial conditions, and the rollouts from each of them in a round."""

    count: int | None = None  # initial conditions, each with a local controller of its own; none: the task's, or 1
    seed: int = 0  # seed of the reset keys that determine the conditions, if neither `states` nor the task does
    states: tuple[float, ...] = ()  # initial states, one after the other; empty: those of the task, or by reset keys
    samples: int = 5  # rollouts from each initial condition in a round
    smoothing: float = 2.0  # std of the Gaussian kernel that smooths the exploration noise over time, steps; 0: white

    def __post_init__(self):
        """Refuse settings that cannot work."""
        if (self.count is not None and self.count < 1) or self.samples < 1 or not self.smoothing >= 0:
            got = f"{self.count}, {self.samples} and {self.smoothing}"
            raise ValueError(f"Conditions needs count >= 1, samples >= 1 and smoothing >= 0; got {got}.")

    def number(self, env: Env) -> int:
        """How many initial conditions there are, C.

        Raises:
            UsageError: the given states have another size or number, or the task has fewer initial states.
        """
        n, there = env.space.size, None
        if self.states:
            there, rest = divmod(len(self.states), n)
            if rest or self.count not in (None, there):
                raise UsageError(
                    f"conditions.states holds {len(self.states)} numbers, which are not {self.count or 'several'} "
                    f"states of size {n} of {env.name}; give the states one after the other."
                )
        elif isinstance(env.task, HasInitialStates):
            there = env.task.initial_states.shape[0]
            if self.count is not None and self.count > there:
                raise UsageError(f"{env.name} has {there} initial states: set conditions.count to {there} or less.")
        return self.count or there or 1

    def reset(self, condition: int, env: Env) -> dict[str, Any]:
        """The arguments of `env.start` that determine an initial condition, counted from 0.

        They are the given `states`; else those of the task, if it has a fixed set of them; else reset keys.
        """
        reset_key = jr.fold_in(jr.key(self.seed), condition)
        if self.states:
            x0 = np.reshape(np.asarray(self.states, np.float32), (-1, env.space.size))[condition]
            return {"reset_key": reset_key, "options": {"x0": x0}}
        if isinstance(env.task, HasInitialStates):
            return {"reset_key": reset_key, "options": {"condition": condition}}
        return {"reset_key": reset_key}


class Rollouts(eqx.Module):
    """States and the actions asked for, of N rollouts from each of C conditions; NumPy arrays."""

    xs: Float[AnyArray, "C N T1 n"]
    us: Float[AnyArray, "C N T m"]

    def joined(self, other: "Rollouts", most: int) -> "Rollouts":
        """With those of `other` after these; the last `most` of each condition."""
        return jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1)[:, -most:], self, other)

    @property
    def pairs(self) -> tuple[Float[np.ndarray, "C N T d"], Float[np.ndarray, "C N T n"]]:
        """All z = [x; u], and all next states."""
        xs = np.asarray(self.xs)
        return np.concatenate([xs[:, :, :-1], np.asarray(self.us)], axis=-1), xs[:, :, 1:]

    @property
    def rows(self) -> tuple[Float[np.ndarray, "M d"], Float[np.ndarray, "M n"]]:
        """The same of all conditions, rollouts and steps."""
        z, y = self.pairs
        return z.reshape(-1, z.shape[-1]), y.reshape(-1, y.shape[-1])


def no_rollouts(conditions: Conditions, env: Env) -> Rollouts:
    """None of any condition."""
    C, T = conditions.number(env), env.task.horizon
    m = require_box(env.task.action_space, "Local models").size
    return Rollouts(np.zeros((C, 0, T + 1, env.space.size), np.float32), np.zeros((C, 0, T, m), np.float32))


def roll_out(
    conditions: Conditions,
    env: Env,
    controllers: Sequence[Controller],
    roots: Float[AnyArray, "C T m m"],
    *,
    key: PRNGKeyArray,
) -> tuple[Rollouts, list[Transition]]:
    """N rollouts from every condition.

    Args:
        conditions: which, and how many rollouts of each.
        env: the environment.
        controllers: one for each condition, without noise.
        roots: factors of the covariances of the noise that is added to the actions, `cov = root root'`.
        key: random key.
    Returns:
        the rollouts, and their episodes as they were recorded, condition by condition.
    Raises:
        UsageError: an episode ended early, or began in another state than the first one of its condition.
    """
    (C, T, m), N = roots.shape[:3], conditions.samples
    noise_key, run_key = jr.split(key)
    noise = _noise(roots, jr.normal(noise_key, (C, N, T, m)), smoothing_matrix(T, conditions.smoothing))
    episodes: list[Transition] = []
    for c, controller in enumerate(controllers):
        how = conditions.reset(c, env)
        for i in range(N):
            disturbed = Disturbed(controller, noise[c, i])
            episode = env.run(disturbed, key=jr.fold_in(run_key, c * N + i), **how)
            _require_whole(episode, T, c, env)
            episodes.append(episode)
    xs = np.stack([np.concatenate([e.x, e.x_next[-1:]]) for e in episodes]).reshape(C, N, T + 1, -1)
    _require_one_start(xs[:, :, 0], env)
    means = np.stack(
        [np.asarray(_actions(controller, jnp.asarray(xs[c, :, :-1]))) for c, controller in enumerate(controllers)]
    )
    return Rollouts(xs.astype(np.float32), (means + np.asarray(noise)).astype(np.float32)), episodes


@jax.jit
def _noise(roots: Array, white: Array, smoothing: Array) -> Float[Array, "C N T m"]:
    return jnp.einsum("ctij,ts,cnsj->cnti", roots, smoothing, white)


@eqx.filter_jit
def _actions(controller: Controller, xs: Float[Array, "N T n"]) -> Float[Array, "N T m"]:
    """The actions of a controller without memory or noise, before they are clipped."""
    at = lambda x, t: controller.act(x, t, (), key=jr.key(0))[0]  # noqa: E731
    return jax.vmap(jax.vmap(at), (0, None))(xs, jnp.arange(xs.shape[1]))


def _require_whole(episode: Transition, steps: int, condition: int, env: Env) -> None:
    if len(episode) < steps or bool(episode.terminated[-1]):
        raise UsageError(
            f"An episode of {env.name} from initial condition {condition + 1} ended after {len(episode)} of {steps} "
            "steps; local models need whole episodes: set a horizon that all rollouts reach, lower "
            "the initial noise, or use a task without terminal states."
        )


def _require_one_start(starts: Float[np.ndarray, "C N n"], env: Env) -> None:
    """Raise `UsageError` unless all rollouts of a condition begin in one state, up to the noise of the sensors."""
    apart = np.abs(starts - starts[:, :1]).max(axis=1)  # [C n]
    sensors = getattr(env, "sensors", None)
    allowed = 0.0 if sensors is None else 2 * SENSOR_STDS * np.asarray(sensors)
    if (apart > allowed).any():
        c, i = np.argwhere(apart > allowed)[0]
        raise UsageError(
            f"{env.name} does not return to initial condition {c + 1}: {env.space.names[i]} differs by "
            f"{apart[c, i]:.3g} between its rollouts, so its reset ignores the seed; use an environment that seeds its "
            "reset (`forethought check` tests it)."
        )
