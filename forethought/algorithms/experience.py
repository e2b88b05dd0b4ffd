"""Experience and what was learned from it: the state of every algorithm that refits its model to all its data."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.model_learning import Learned, ModelLearning
from forethought.core import Box, Buffer, Controller, Planner, Problem, Result, Transition, UsageError
from forethought.envs.env import Env, collect, spaces_of
from forethought.envs.episode import join_pieces
from forethought.tasks.learned_task import FromObservation


class Experience(eqx.Module):
    """Everything that was experienced, and what was learned from it."""

    buffer: Buffer
    learned: Learned
    episodes: Int[Array, ""]


def no_experience(learning: ModelLearning, planner: Planner, env: Env, *, key: PRNGKeyArray) -> Experience:
    """No data, and a model that was never fitted.

    Raises:
        UsageError: `planner` cannot plan with the actions of `env`.
    """
    learned = learning.init(env, key=key)
    require_planner(planner, learned.problem(env))
    actions = env.task.action_space
    if isinstance(actions, Box):
        buffer = Buffer.empty(env.space.size, actions.size)
    else:
        buffer = Buffer.like(spaces_of(env).example())
    return Experience(buffer, learned, jnp.zeros((), jnp.int32))


def require_planner(planner: Planner, problem: Problem) -> None:
    """Raise `UsageError` where `planner` cannot plan with the actions of a task; nothing is computed."""
    try:
        eqx.filter_eval_shape(planner.init, problem)
    except UsageError as error:
        if isinstance(problem.task.action_space, Box):
            raise
        name, n = type(planner).__name__, problem.task.action_space.n
        raise UsageError(
            f"{name} needs continuous actions (a Box action space), and this task has {n} discrete ones: use "
            "--planner cem or random-shooting."
        ) from error


def learn(
    learning: ModelLearning, before: Experience, episodes: Sequence[Transition], *, key: PRNGKeyArray
) -> tuple[Experience, dict[str, float | None]]:
    """Aggregate and fit: the experience with new episodes, and the metrics of the fit.

    The metric `model_error` is that of the model before the fit, on the new episodes; None before the first fit.

    Raises:
        NumericalFailure: the fit has no usable answer.
    """
    buffer = before.buffer
    for episode in episodes:
        buffer = buffer.append(episode)
    fitted = int(before.learned.rows) > 0
    error = float(before.learned.one_step_error(join_pieces(episodes), buffer)) if fitted else None
    learned, fit = learning.fit(buffer, before.learned, key=key)
    Result(fit.result).throw()
    return Experience(buffer, learned, before.episodes + len(episodes)), {"model_error": error, **fit.metrics}


def learn_from_data(
    learning: ModelLearning, before: Experience, episodes: Sequence[Transition], *, key: PRNGKeyArray
) -> Experience:
    """The experience with recorded episodes, and a model fitted to it; they take the place of the first random ones.

    Raises:
        NumericalFailure: the fit has no usable answer.
    """
    buffer = before.buffer.append(join_pieces(episodes), episode=_numbers(episodes, int(before.episodes)))
    learned, fit = learning.fit(buffer, before.learned, key=key)
    Result(fit.result).throw()
    return Experience(buffer, learned, before.episodes + len(episodes))


def _numbers(episodes: Sequence[Transition], first: int) -> np.ndarray:
    """The number of the episode of each row."""
    return np.repeat(np.arange(first, first + len(episodes)), [len(episode) for episode in episodes])


def collect_count(env: Env, controller: Controller, count: int, *, key: PRNGKeyArray) -> list[Transition]:
    """`count` whole episodes."""
    return [collect(env, controller, key=jr.fold_in(key, i)) for i in range(count)]


def for_observations(env: Env, controller: Controller) -> Controller:
    """A controller for what `env` shows, made of one for the states of the learned problem."""
    return FromObservation(controller) if env.learn_reward else controller


def require_at_least(settings: Any, **least: int) -> None:
    """Raise `ValueError` for a setting below its least value; None is allowed, NaN is not."""
    for name, bound in least.items():
        value = getattr(settings, name)
        if value is not None and not value >= bound:
            raise ValueError(f"{type(settings).__name__}.{name} must be at least {bound}, got {value}.")
