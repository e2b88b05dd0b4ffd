"""Episodes: the protocol, whole episodes in one call, and helpers for host loops around Gymnasium environments."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray, Shaped

from forethought.core import Controller, EnvironmentFailure, Transition, UsageError
from forethought.tasks.function_task import first_line

if TYPE_CHECKING:
    from forethought.envs.env import Env

OnStep = Callable[[int, float], None]  # on_step(steps of the episode so far, return so far)


@runtime_checkable
class Episode(Protocol):
    """An episode that runs when it is advanced.  An environment may support only the episode that it started last."""

    @property
    def x(self) -> Shaped[np.ndarray, "..."]:
        """The current observation; after the end of the episode, the last one."""
        ...

    @property
    def over(self) -> bool:
        """Whether the episode has ended: terminated, truncated by a time limit, or failed."""
        ...

    def advance(self, controller: Controller, *, steps: int, on_step: OnStep | None = None) -> Transition:
        """Run up to `steps` more steps, fewer if the episode ends; leading axis [T], NumPy arrays.

        Each call may pass another controller.  A controller that differs from its predecessor only in its arrays takes
        over the predecessor's memory; any other controller starts with a new memory.  The pieces of an episode
        together are bitwise equal to the episode run in one piece.

        Raises:
            EnvironmentFailure: see `Env.run`; its `episode` holds the steps of this call before the failure.
            UsageError: the episode has ended, or the environment has started another one.
        """
        ...


def run_episode(
    env: "Env",
    controller: Controller,
    *,
    key: PRNGKeyArray,
    reset_key: PRNGKeyArray | None = None,
    options: Mapping[str, Any] | None = None,
    on_step: OnStep | None = None,
    frames: list[np.ndarray] | None = None,
    steps: int | None = None,
) -> Transition:
    """One whole episode of `env`; the implementation of `Env.run`."""
    most = at_most(steps, env.task.horizon)
    episode = env.start(key=key, reset_key=reset_key, options=options, frames=frames)
    rows = episode.advance(controller, steps=most, on_step=on_step)
    return rows if episode.over else truncated(rows)


def truncated(rows: Transition) -> Transition:
    """The same steps with the last one marked as truncated."""
    flags = np.array(rows.truncated)
    flags[-1] = not rows.terminated[-1]
    return eqx.tree_at(lambda r: r.truncated, rows, flags)


def join_pieces(pieces: Sequence[Transition]) -> Transition:
    """Concatenate pieces of an episode, or several episodes, in order, along their leading axis."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def require_running(episode: Episode, steps: int, *, replaced: bool = False) -> None:
    """Raise `UsageError` unless `episode` can be advanced."""
    if steps < 1:
        raise ValueError(f"An episode is advanced by at least 1 step, got {steps}.")
    if episode.over:
        raise UsageError("This episode has ended; start another one.")
    if replaced:
        raise UsageError("The environment has started another episode since; only the last one can be advanced.")


STEP_VALUES, RESET_VALUES = "observation, reward, terminated, truncated, info", "observation, info"


class EpisodeLog:
    """Collects the steps of an episode one by one into a `Transition`."""

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
        """All steps, leading axis [T]; None if there are none."""
        return self.whole() if self._rows else None

    def whole(self) -> Transition:
        """All steps, leading axis [T >= 1]; rewards have the dtype of the states if states are real numbers."""
        x, u, x_next, reward, terminated, truncated = (np.stack(column) for column in zip(*self._rows, strict=True))
        real = x.dtype if np.issubdtype(x.dtype, np.floating) else np.dtype(jnp.result_type(float))
        return Transition(x, u, x_next, reward.astype(real), terminated, truncated)


def call_env(name: str, step: int, method: Callable, *args: Any, **kwargs: Any) -> tuple:
    """The values that `method` of an environment returns at `step` (0: reset): two for `reset`, five for `step`.

    Raises:
        EnvironmentFailure: the method raised an exception or returned another number of values.
    """
    resets = getattr(method, "__name__", "step") == "reset"
    wanted = RESET_VALUES if resets else STEP_VALUES
    count = wanted.count(",") + 1
    remedy = f"return Gymnasium's {'two' if resets else 'five'} values: {wanted}"
    try:
        values = method(*args, **kwargs)
    except Exception as error:  # third-party code may raise any exception; the earlier steps must not be lost
        what = f"raised {type(error).__name__} ({first_line(error)})"
        of_a_wrapper = isinstance(error, ValueError) and f"to unpack (expected {count}" in str(error)
        raise EnvironmentFailure(f"{name} {what} {at(step)}{f': {remedy}' if of_a_wrapper else ''}.") from error
    if not isinstance(values, tuple) or len(values) != count:
        got = f"{len(values)} values" if isinstance(values, tuple) else f"a {type(values).__name__}"
        raise EnvironmentFailure(f"{name} returned {got} {at(step)}: {remedy}.")
    return values


def at(step: int) -> str:
    """The time of an event: "at step 3", or "when it was reset" for step 0."""
    return f"at step {step}" if step else "when it was reset"


def seed_of(key: PRNGKeyArray) -> int:
    """A seed for `reset`, determined by `key`."""
    return int(jr.randint(key, (), 0, np.iinfo(np.int32).max))


def at_most(steps: int | None, horizon: int) -> int:
    """The maximum length of an episode: the smaller of `horizon` and `steps`, if `steps` is given."""
    if steps is not None and steps < 1:
        raise ValueError(f"An episode has at least 1 step, got {steps}.")
    return horizon if steps is None else min(steps, horizon)
