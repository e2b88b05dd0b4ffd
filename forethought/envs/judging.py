"""Reward and end of a step of a Gymnasium environment, by the task's functions where they are known."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import EnvironmentFailure
from forethought.envs.episode import at
from forethought.tasks.function_task import FunctionTask


def judge(
    name: str,
    task: FunctionTask,
    x: np.ndarray,
    u: np.ndarray,
    x_next: np.ndarray,
    told: tuple[Any, Any, Any],
    t: int,
) -> tuple[float, bool, bool]:
    """Reward, terminated and truncated of step `t` (from 0); the shorter of the two time limits truncates.

    Args:
        name: of the environment, in messages.
        task: its functions decide where they are known.
        x: the observation before the step.
        u: the action.
        x_next: the observation after it.
        told: the same three as the environment gives them.
        t: step of the episode.
    Raises:
        EnvironmentFailure: the reward is not a finite number.
    """
    reward, ended, cut = told[0], bool(told[1]), bool(told[2])
    reward = _reward(name, reward, t + 1) if task.cost_function is None else -_finite_cost(task, x, u, t + 1)
    terminated = ended
    if task.termination_function is not None:
        terminated = bool(_terminal(task, x_next))
        cut = cut or (ended and not terminated)
    return reward, terminated, cut or (t + 1 == task.horizon and not terminated)


def _finite_cost(task: FunctionTask, x: np.ndarray, u: np.ndarray, step: int) -> float:
    cost = float(_cost(task, x, u))
    if not np.isfinite(cost):
        where = f"{at(step)}, for x = {_short(x)} and u = {_short(u)}"
        remedy = "guard divisions, logarithms and roots inside it"
        raise EnvironmentFailure(f"the cost function gave {cost} {where}: {remedy}.")
    return cost


def _reward(name: str, reward: Any, step: int) -> float:
    if np.ndim(reward) != 0 or not np.issubdtype(np.asarray(reward).dtype, np.number):
        what = f"shape {list(np.shape(reward))}" if np.ndim(reward) else f"type {type(reward).__name__}"
        raise EnvironmentFailure(f"{name} gave a reward of {what} {at(step)}: return a float.")
    if not np.isfinite(reward):
        raise EnvironmentFailure(f"{name} gave the reward {reward} {at(step)}.")
    return float(reward)


@eqx.filter_jit
def _cost(task: FunctionTask, x: Any, u: Any) -> jax.Array:
    return task.cost(jnp.asarray(x), jnp.asarray(u), jnp.zeros((), jnp.int32))


@eqx.filter_jit
def _terminal(task: FunctionTask, x: Any) -> jax.Array:
    return task.terminal(jnp.asarray(x))


def _short(values: np.ndarray) -> str:
    """An array as one line of text."""
    return " ".join(np.array2string(np.asarray(values), precision=3, threshold=8).split())
