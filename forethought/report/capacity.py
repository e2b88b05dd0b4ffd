"""Model capacity against data: the same data and more units, or more data, and where a model over- or underfits.

For each size of the model and each number of transitions: the error one step ahead on the data it was fitted to and on
held-out episodes, and the error several steps ahead on the held-out episodes.  Errors are relative to the spread of the
data: about 1 is no better than guessing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.algorithms.model_learning import Learned, ModelLearning
from forethought.core import Buffer, Regression, Result, Transition
from forethought.dynamics.learned import one_step_error
from forethought.envs.env import Env
from forethought.envs.episode import join_pieces
from forethought.report.diagnostics import examine


@dataclass(frozen=True)
class CapacityPoint:
    """One model, fitted once."""

    model: str  # its name
    transitions: int  # it was fitted to
    training_error: float  # one step ahead, relative to the spread of the changes of state
    held_out_error: float  # the same on episodes it was not fitted to
    multi_step_error: float  # `horizon` steps ahead, open loop, relative to the spread of the states
    returned: float | None  # what `evaluate` made of it


def capacity(
    env: Env,
    models: Mapping[str, Regression],
    training: Sequence[Transition],
    held_out: Sequence[Transition],
    *,
    counts: Sequence[int],
    horizon: int = 20,
    evaluate: Callable[[Learned, PRNGKeyArray], float] | None = None,
    key: PRNGKeyArray,
) -> list[CapacityPoint]:
    """Fit every model to the first `count` training transitions, for every count.

    Args:
        env: where the episodes come from: its state space, and whether its reward is learned.
        models: regressions by name, such as networks of several widths.
        training: episodes, at least as many steps as the largest count; the same transitions for every model.
        held_out: episodes that nothing is fitted to.
        counts: numbers of transitions.
        horizon: of the multi-step error.
        evaluate: what a learned model is worth, such as the return of planning with it.
        key: random key.
    Raises:
        ValueError: fewer training transitions than a count.
        NumericalFailure: a fit has no usable answer.
    """
    rows, seen = join_pieces(training), join_pieces(held_out)
    most = len(rows)
    if max(counts) > most:
        raise ValueError(f"capacity: {max(counts)} transitions were asked for, and there are {most}.")
    sizes = env.space.size, env.task.action_space.size
    everything = Buffer.empty(*sizes).append(seen)
    points = []
    for count in counts:
        some = jax.tree.map(lambda a, count=count: a[:count], rows)
        buffer = Buffer.empty(*sizes, capacity=max(counts)).append(some)  # all counts share the compiled fit of a model
        for number, (name, model) in enumerate(models.items()):
            init_key, fit_key, test_key = jr.split(jr.fold_in(jr.fold_in(key, count), number), 3)
            learning = ModelLearning(model)
            learned, fit = learning.fit(buffer, learning.init(env, key=init_key), key=fit_key)
            Result(fit.result).throw()
            error, _ = examine(learned.problem(env), env.space, held_out, key=test_key, horizon=horizon, particles=20)
            points.append(
                CapacityPoint(
                    name,
                    int(count),
                    float(one_step_error(learned.dynamics, some, everything)),
                    float(one_step_error(learned.dynamics, seen, everything)),
                    float(error.rmse[-1]),
                    None if evaluate is None else float(evaluate(learned, test_key)),
                )
            )
    return points


def as_rows(points: Sequence[CapacityPoint]) -> list[dict[str, Any]]:
    """Plain values for JSON; null for what is not finite."""
    finite: Callable[[Any], Any] = lambda v: None if isinstance(v, float) and not np.isfinite(v) else v  # noqa: E731
    return [{name: finite(value) for name, value in vars(point).items()} for point in points]
