"""Conversion between values of Gymnasium's spaces and arrays of fixed shape and dtype, with checks.

Observations: a `Box` of one axis, and a `Dict` or `Tuple` of boxes, is a state, real numbers [n].  A `Box` of integers
with two axes or more, or of real numbers with three or more, is an image and keeps its shape and dtype.  `Discrete`,
`MultiDiscrete` and `MultiBinary` give integers from 0.
Actions: a bounded `Box` of real numbers gives [m], `Discrete` an integer from 0.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import Box, Discrete, EnvironmentFailure, Observations, UsageError
from forethought.tasks.function_task import first_line

_MISFITS = (TypeError, ValueError, KeyError, IndexError, AttributeError)  # what converting a wrong value may raise


class ObservationCodec:
    """Converts observations of a Gymnasium space to arrays; `observations` is their shape and dtype."""

    def __init__(self, space: gym.Space, name: str):
        """Raises `UsageError` for a space that does not consist of numbers."""
        observations = _observations(space)
        if observations is None:
            remedy = "wrap it with gymnasium.wrappers.TransformObservation to give a Box of numbers"
            raise UsageError(f"{name} has observations that are not plain numbers ({space}): {remedy}.")
        self.space, self.name = space, name
        self.observations: Observations = observations
        self.size = observations.size
        self.dtype = np.dtype(self.observations.dtype)
        self.real = np.issubdtype(self.dtype, np.inexact)

    def read(self, observation: Any, step: int) -> np.ndarray:
        """The observation; raises `EnvironmentFailure` if it is not finite or does not fit the space."""
        x = self._array(observation, step)
        if self.real and not np.isfinite(x).all():
            i = int(np.flatnonzero(~np.isfinite(x))[0])
            where = f"coordinate {i} of the observation" if self.size > 1 else "the observation"
            raise EnvironmentFailure(f"{self.name}: {where} is {x.reshape(-1)[i]} {self._when(step)}.")
        return x

    def _array(self, observation: Any, step: int) -> np.ndarray:
        try:
            if isinstance(self.space, gym.spaces.Dict | gym.spaces.Tuple):
                raw = np.asarray(gym.spaces.flatten(self.space, observation))
                expected: tuple[int, ...] = (self.size,)
            else:
                raw, expected = np.asarray(observation), self.space.shape or ()
            if self.observations.counts is not None and raw.shape == expected:
                raw = self._numbered(raw)
            with np.errstate(over="ignore"):  # a number too large for the dtype becomes inf, which `read` reports
                x = raw.astype(self.dtype, copy=True)
        except _MISFITS as error:
            what = f"gave an observation that does not fit its space ({first_line(error)})"
            raise EnvironmentFailure(f"{self.name} {what} {self._when(step)}.") from error
        if raw.shape != expected:
            what = f"gave an observation of shape {list(raw.shape)} instead of {list(expected)}"
            raise EnvironmentFailure(f"{self.name} {what} {self._when(step)}.")
        return np.reshape(x, self.observations.shape)

    def _numbered(self, raw: np.ndarray) -> np.ndarray:
        """The observation as integers from 0; raises `ValueError` for values outside the space."""
        assert self.observations.counts is not None
        if not np.issubdtype(raw.dtype, np.integer) and raw.dtype != bool:
            raise TypeError(f"an integer was expected, not {raw.dtype}")
        numbers = np.asarray(raw.astype(np.int64) - getattr(self.space, "start", 0))
        counts = np.reshape(self.observations.counts, self.observations.shape)
        if ((numbers < 0) | (numbers >= counts)).any():
            raise ValueError(f"{raw.tolist()} is not in {self.space}")
        return numbers

    @staticmethod
    def _when(step: int) -> str:
        return f"at step {step}" if step else "after the reset"


class ActionCodec:
    """Converts a controller's actions to values of a Gymnasium space: a `Box` of real numbers, or `Discrete`."""

    def __init__(self, space: gym.Space, name: str):
        """Raises `UsageError` for any other space, or a `Box` without finite bounds."""
        self.space: Any = space
        self.name = name
        if not isinstance(space, gym.spaces.Discrete):
            if not isinstance(space, gym.spaces.Box) or not np.issubdtype(space.dtype, np.floating):
                remedy = "wrap it with gymnasium.wrappers.TransformAction, or choose another environment"
                need = "actions must be continuous (Box of real numbers) or discrete (Discrete)"
                raise UsageError(f"{name} has the action space {space}; {need}: {remedy}.")
            if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
                remedy = "give it bounds with gymnasium.wrappers.TransformAction(env, func, action_space)"
                raise UsageError(f"{name} has actions without finite bounds ({space}), which planners need: {remedy}.")
        if isinstance(space, gym.spaces.Box):
            dtype = jnp.result_type(float)
            self.low, self.high = space.low.reshape(-1).astype(dtype), space.high.reshape(-1).astype(dtype)

    def actions(self, names: Sequence[str] = ()) -> Box | Discrete:
        """The space as `Box` or `Discrete` of `forethought.core`; `names` are those of a box's coordinates."""
        if isinstance(self.space, gym.spaces.Discrete):
            return Discrete(int(self.space.n))
        return Box(jnp.asarray(self.low), jnp.asarray(self.high), names)

    @property
    def size(self) -> int:
        """Number of entries of an action as a model's input."""
        return self.actions().size

    def read(self, action: Any, t: int) -> np.ndarray:
        """The controller's action, clipped to the limits; raises `EnvironmentFailure` if it is not finite."""
        if isinstance(self.space, gym.spaces.Discrete):
            return self._choice(np.asarray(action), t)
        u = np.asarray(action, self.low.dtype)
        if u.shape != self.low.shape:
            raise UsageError(
                f"the controller gave actions of shape {list(u.shape)}; {self.name} takes [{self.low.size}]."
            )
        if not np.isfinite(u).all():
            what = f"the controller gave the action {u.tolist()} at step {t + 1}"
            raise EnvironmentFailure(f"{what}: look for a diverging model or an unbounded cost.")
        return np.minimum(np.maximum(u, self.low), self.high)

    def _choice(self, action: np.ndarray, t: int) -> np.ndarray:
        if action.shape or not np.issubdtype(action.dtype, np.integer):
            what = f"{action.dtype} {list(action.shape)}"
            raise UsageError(f"the controller gave actions of {what}; {self.name} takes one integer.")
        if not 0 <= action < self.space.n:
            what = f"the controller gave the action {action} at step {t + 1}"
            raise EnvironmentFailure(f"{what}; {self.name} has the actions 0 to {self.space.n - 1}.")
        return action.astype(np.int32)

    def write(self, u: np.ndarray) -> Any:
        """The action as a new array in the shape and dtype of the space, within its bounds even after rounding."""
        if isinstance(self.space, gym.spaces.Discrete):
            return self.space.dtype.type(u + self.space.start)
        action = u.reshape(self.space.shape).astype(self.space.dtype)
        return np.minimum(np.maximum(action, self.space.low), self.space.high)


def _observations(space: gym.Space) -> Observations | None:
    """Shape and dtype of the arrays that represent the observations of a space; None if they are not numbers."""
    if isinstance(space, gym.spaces.Discrete):
        return Observations((), "int32", (int(space.n),))
    if isinstance(space, gym.spaces.MultiDiscrete):
        return Observations(space.shape, "int32", tuple(int(n) for n in np.ravel(space.nvec)))
    if isinstance(space, gym.spaces.MultiBinary):
        return Observations(space.shape, "int32", (2,) * int(np.prod(space.shape)))
    if isinstance(space, gym.spaces.Box) and _is_image(space):
        return Observations(space.shape, str(jax.dtypes.canonicalize_dtype(space.dtype)))
    return Observations((gym.spaces.flatdim(space),), str(jnp.result_type(float))) if _is_vector(space) else None


def _is_image(space: gym.spaces.Box) -> bool:
    return len(space.shape) >= (3 if np.issubdtype(space.dtype, np.floating) else 2)


def _is_vector(space: gym.Space) -> bool:
    if isinstance(space, gym.spaces.Dict):
        return all(_is_vector(part) for part in space.spaces.values())
    if isinstance(space, gym.spaces.Tuple):
        return all(_is_vector(part) for part in space.spaces)
    return isinstance(space, gym.spaces.Box)
