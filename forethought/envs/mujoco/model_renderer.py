"""Pictures of a bare MuJoCo model, by MuJoCo's own renderer."""

from typing import Any

import mujoco
import numpy as np

from forethought.core import EnvironmentFailure, Problem
from forethought.dynamics.mujoco.simulator import Simulator
from forethought.envs.drawing.renderers import HEIGHT, WIDTH
from forethought.tasks.function_task import first_line


class ModelRenderer:
    """A `Renderer` of states [qpos; qvel; act]."""

    def __init__(self, simulator: Simulator):
        self._simulator = simulator
        self._data = mujoco.MjData(simulator.model)
        self._renderer: Any = None  # loads OpenGL

    def __call__(self, problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        """An RGB picture [height, width, 3] uint8 of state `x`.

        Raises:
            EnvironmentFailure: there is no OpenGL.
        """
        del problem, u, seconds
        if self._renderer is None:
            self._renderer = self._loaded()
        self._simulator.put(self._data, np.asarray(x, float))
        mujoco.mj_forward(self._simulator.model, self._data)
        self._renderer.update_scene(self._data)
        return self._renderer.render()

    def _loaded(self) -> Any:
        try:
            return mujoco.Renderer(self._simulator.model, HEIGHT, WIDTH)
        except Exception as error:  # graphics drivers raise anything
            remedy = "without a screen set MUJOCO_GL=egl (GPU) or MUJOCO_GL=osmesa (software)"
            raise EnvironmentFailure(
                f"MuJoCo could not render ({first_line(error)}): it needs OpenGL; {remedy}."
            ) from error
