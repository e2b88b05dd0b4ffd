"""Logged data in place of an environment: what a model needs to know of it, and no episodes."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, CheckpointError, Discrete, Trajectory, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.logged.data import LoggedData


class LoggedTask(eqx.Module):
    """The limits of the recorded actions and the time step; nothing is charged and no state is terminal."""

    action_space: Box | Discrete
    horizon: int = eqx.field(static=True)  # steps of the longest episode
    dt: float = eqx.field(static=True)  # s; 1 where it is unknown

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """Refused: initial states are unknown."""
        del key
        raise UsageError("logged data has no initial states.")

    def cost(self, x: Float[Array, "n"], u: Any, t: Int[Array, ""]) -> Float[Array, ""]:
        """Zero."""
        del u, t
        return jnp.zeros((), x.dtype)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Zero."""
        return jnp.zeros((), x.dtype)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Never."""
        del x
        return jnp.zeros((), bool)

    def solved(self, trajectory: Trajectory) -> None:
        """There is no test of success."""
        del trajectory


class LoggedEnv:
    """An `Env` that knows the coordinates and actions of logged data, and cannot be acted on."""

    learn_reward = False
    learn_termination = False

    def __init__(self, name: str, space: StateSpace, task: LoggedTask, dt: float | None):
        self.name, self.space, self.task, self.known_dt = name, space, task, dt

    @staticmethod
    def of(data: LoggedData, angles: tuple[int, ...]) -> "LoggedEnv":
        """That of `data`, whose states `angles` (indices) are angles in radians."""
        space = StateSpace(len(data.states), angles, names=data.states)
        task = LoggedTask(data.action_space, max(map(len, data.episodes)), data.dt or 1.0)
        return LoggedEnv(data.source, space, task, data.dt)

    def record(self) -> dict[str, Any]:
        """Plain values for `from_record`."""
        actions = self.task.action_space
        limits = (
            {"choices": actions.n}
            if isinstance(actions, Discrete)
            else {
                "low": np.asarray(actions.low).tolist(),
                "high": np.asarray(actions.high).tolist(),
                "actions": list(actions.names),
            }
        )
        return {
            "source": self.name,
            "states": list(self.space.names),
            "angles": list(self.space.angles),
            "horizon": self.task.horizon,
            "dt": self.known_dt,
            **limits,
        }

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "LoggedEnv":
        """The one described by `record()`.

        Raises:
            CheckpointError: the record was altered.
        """
        try:
            space = StateSpace(len(record["states"]), tuple(record["angles"]), names=record["states"])
            if "choices" in record:
                actions: Box | Discrete = Discrete(int(record["choices"]))
            else:
                low, high = (np.asarray(record[name], np.float32) for name in ("low", "high"))
                actions = Box(low, high, record["actions"])
            dt = record["dt"]
            return LoggedEnv(record["source"], space, LoggedTask(actions, int(record["horizon"]), dt or 1.0), dt)
        except (KeyError, TypeError, ValueError) as problem:
            raise CheckpointError(f"the run's record of its data is damaged: {problem}") from problem

    def start(self, **more: Any) -> Any:
        """Refused: a log cannot be acted on."""
        del more
        raise no_environment(self.name)

    def run(self, controller: Any, **more: Any) -> Any:
        """Refused: a log cannot be acted on."""
        del controller, more
        raise no_environment(self.name)


def no_environment(name: str) -> UsageError:
    """The error for a request that needs an environment."""
    return UsageError(
        f"this model was fitted to logged data ({name}), without an environment to act in: use `forethought report "
        "RUN`, `forethought plan ENV --model RUN` or `forethought train ALGORITHM ENV --data RUN`."
    )
