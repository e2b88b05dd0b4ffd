"""Between Gymnasium's spaces and flat arrays: states [n] in, actions [m] out, checked on the way."""

from typing import Any

import gymnasium as gym
import jax.numpy as jnp
import numpy as np

from forethought.core import EnvironmentFailure, UsageError
from forethought.tasks.function_task import first_line


class ObservationCodec:
    """Observations of a space as states [n], n = `size`."""

    def __init__(self, space: gym.Space, name: str):
        """For a `Box`, or a `Dict` or `Tuple` of them; raises `UsageError` for others."""
        if not _numeric(space):
            remedy = "wrap it with gymnasium.wrappers.TransformObservation to give a Box of numbers"
            raise UsageError(f"{name} has observations that are not plain numbers ({space}): {remedy}.")
        self.space, self.name = space, name
        self.size = gym.spaces.flatdim(space)
        self.dtype = np.dtype(jnp.result_type(float))

    def read(self, observation: Any, step: int) -> np.ndarray:
        """The state [n]; raises `EnvironmentFailure` where it is not finite or has another shape than the space."""
        x = self._flatten(observation, step)
        if not np.isfinite(x).all():
            i = int(np.flatnonzero(~np.isfinite(x))[0])
            where = f"coordinate {i} of the observation" if self.size > 1 else "the observation"
            raise EnvironmentFailure(f"{self.name}: {where} is {x[i]} {self._when(step)}.")
        return x

    def _flatten(self, observation: Any, step: int) -> np.ndarray:
        try:
            if isinstance(self.space, gym.spaces.Box):
                raw: Any = np.asarray(observation)
                shape, expected = raw.shape, self.space.shape
            else:
                raw = gym.spaces.flatten(self.space, observation)
                shape, expected = raw.shape, (self.size,)
            with np.errstate(over="ignore"):  # too large for the dtype becomes inf, which `read` reports
                x = raw.astype(self.dtype, copy=True).reshape(-1)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            what = f"gave an observation that does not fit its space ({first_line(error)})"
            raise EnvironmentFailure(f"{self.name} {what} {self._when(step)}.") from error
        if shape != expected:
            what = f"gave an observation of shape {list(shape)} instead of {list(expected)}"
            raise EnvironmentFailure(f"{self.name} {what} {self._when(step)}.")
        return x

    @staticmethod
    def _when(step: int) -> str:
        return f"at step {step}" if step else "after the reset"


class ActionCodec:
    """Actions [m], m = `size`, within `low` [m] and `high` [m], as a bounded `Box` space wants them."""

    def __init__(self, space: gym.Space, name: str):
        """Raises `UsageError` for a space without real numbers or finite bounds."""
        if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            kind = "a discrete action space" if isinstance(space, gym.spaces.Discrete) else "the action space"
            remedy = "wrap it, or choose an environment with continuous actions"
            need = "the planners here need continuous (Box) actions"
            raise UsageError(f"{name} has {kind} ({space}); {need}: {remedy}.")
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            remedy = "wrap it with gymnasium.wrappers.RescaleAction or TransformAction"
            raise UsageError(f"{name} has actions without finite bounds ({space}); a planner needs them: {remedy}.")
        self.space, self.name = space, name
        dtype = jnp.result_type(float)
        self.low, self.high = space.low.reshape(-1).astype(dtype), space.high.reshape(-1).astype(dtype)
        self.size = self.low.size

    def read(self, action: Any, t: int) -> np.ndarray:
        """A controller's answer [m], clipped to the limits; raises `EnvironmentFailure` where it is not finite."""
        u = np.asarray(action, self.low.dtype)
        if u.shape != self.low.shape:
            raise UsageError(f"the controller gave actions of shape {list(u.shape)}; {self.name} takes [{self.size}].")
        if not np.isfinite(u).all():
            what = f"the controller gave the action {u.tolist()} at step {t + 1}"
            raise EnvironmentFailure(f"{what}: look for a diverging model or an unbounded cost.")
        return np.minimum(np.maximum(u, self.low), self.high)

    def write(self, u: np.ndarray) -> np.ndarray:
        """The action in the shape and dtype of the space, never beyond its bounds after rounding; a fresh array."""
        action = u.reshape(self.space.shape).astype(self.space.dtype)
        return np.minimum(np.maximum(action, self.space.low), self.space.high)


def _numeric(space: gym.Space) -> bool:
    if isinstance(space, gym.spaces.Dict):
        return all(_numeric(part) for part in space.spaces.values())
    if isinstance(space, gym.spaces.Tuple):
        return all(_numeric(part) for part in space.spaces)
    return isinstance(space, gym.spaces.Box)
