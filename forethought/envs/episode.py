"""What every host loop around a Gymnasium environment needs: guarded calls, seeds, and a log of steps."""

from collections.abc import Callable
from typing import Any

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import EnvironmentFailure, Transition
from forethought.tasks.function_task import first_line


class EpisodeLog:
    """The steps of an episode as they come, and the `Transition` they make."""

    def __init__(self) -> None:
        """No steps yet."""
        self._rows: list[tuple] = []

    def append(
        self, x: np.ndarray, u: np.ndarray, x_next: np.ndarray, reward: float, terminated: bool, truncated: bool
    ) -> None:
        """Record one step."""
        self._rows.append((x, u, x_next, reward, terminated, truncated))

    def __len__(self) -> int:
        return len(self._rows)

    def episode(self) -> Transition | None:
        """All steps, leading axis [T], in the dtype of the states; None where there are none."""
        return self.whole() if self._rows else None

    def whole(self) -> Transition:
        """All steps, leading axis [T], of which there is at least one."""
        x, u, x_next, reward, terminated, truncated = (np.stack(column) for column in zip(*self._rows, strict=True))
        return Transition(x, u, x_next, reward.astype(x.dtype), terminated, truncated)


def call_env(name: str, step: int, method: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a method of an environment at `step` (0: its reset); whatever it raises becomes an `EnvironmentFailure`."""
    try:
        return method(*args, **kwargs)
    except Exception as error:  # foreign code may raise anything; the steps before it must not be lost
        what = f"raised {type(error).__name__} ({first_line(error)})"
        raise EnvironmentFailure(f"{name} {what} {at(step)}.") from error


def at(step: int) -> str:
    """When something happened: steps count from 1, 0 is the reset."""
    return f"at step {step}" if step else "when it was reset"


def seed_of(key: PRNGKeyArray) -> int:
    """A seed for `reset`, a function of `key`."""
    return int(jr.randint(key, (), 0, np.iinfo(np.int32).max))


def at_most(steps: int | None, horizon: int) -> int:
    """The length of an episode that the task ends after `horizon` and the caller after `steps` (None: he does not)."""
    if steps is not None and steps < 1:
        raise ValueError(f"An episode has at least 1 step, got {steps}.")
    return horizon if steps is None else min(steps, horizon)
