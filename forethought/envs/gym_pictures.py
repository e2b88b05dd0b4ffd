"""Pictures of a Gymnasium environment."""

import warnings
from collections.abc import Callable

import gymnasium as gym
import numpy as np

from forethought.core import EnvironmentFailure, UsageError
from forethought.dynamics.mujoco.messages import no_warnings
from forethought.tasks.function_task import first_line


class GymPictures:
    """The instance of an environment that renders: the environment itself if it can, else a second one."""

    def __init__(self, env: gym.Env, make: Callable[..., gym.Env] | None, name: str):
        """Pictures of `env`; `make(render_mode=...)` makes another instance."""
        self._env, self._make, self._name = env, make, name
        self._second: gym.Env | None = None

    def env(self) -> gym.Env:
        """The instance that renders; a second one is made on first use.

        Raises:
            UsageError: the environment has no render mode rgb_array, or cannot be made again.
            EnvironmentFailure: making it failed.
        """
        if self._env.render_mode == "rgb_array":
            return self._env
        if self._second is None:
            modes = self._env.metadata.get("render_modes") or []
            if "rgb_array" not in modes:
                known = ", ".join(modes) if modes else "none"
                raise UsageError(f"{self._name} cannot make pictures: no render mode rgb_array (it has: {known}).")
            if self._make is None:
                remedy = 'make it with render_mode="rgb_array", or register it and give its id'
                raise UsageError(f"{self._name} was given as an object without a spec, so it cannot be made again "
                                 f"for pictures: {remedy}.")  # fmt: skip
            try:
                with no_warnings():
                    self._second = self._make(render_mode="rgb_array")
            except Exception as error:  # graphics drivers raise anything
                raise self._failure(error) from error
        return self._second

    def take(self, env: gym.Env) -> np.ndarray:
        """A picture [height, width, 3] uint8 of `env`, the instance that renders.

        Raises:
            EnvironmentFailure: rendering failed.
        """
        try:
            with warnings.catch_warnings():  # graphics libraries warn at length before they fail
                warnings.simplefilter("ignore")
                picture = env.render()
        except Exception as error:  # graphics drivers raise anything
            raise self._failure(error) from error
        if not (isinstance(picture, np.ndarray) and picture.ndim == 3):
            raise EnvironmentFailure(f"{self._name} rendered a {type(picture).__name__} instead of an RGB picture.")
        return np.asarray(picture[..., :3], np.uint8)

    def close(self) -> None:
        """Close the second instance."""
        if self._second is not None:
            self._second.close()
        self._second = None

    def _failure(self, error: Exception) -> EnvironmentFailure:
        remedy = "train and evaluate need no pictures"
        if "mujoco" in type(self._env.unwrapped).__module__ or "mujoco" in type(error).__module__:
            remedy = "MuJoCo needs OpenGL; without a screen set MUJOCO_GL=egl (GPU) or MUJOCO_GL=osmesa (software)"
        return EnvironmentFailure(f"{self._name} could not render ({first_line(error)}): {remedy}.")
