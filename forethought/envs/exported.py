"""A shipped system as a plain `gymnasium.Env`, for use by other libraries."""

from typing import Any

import equinox as eqx
import gymnasium as gym
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Problem, box_of, step_cost
from forethought.envs.drawing.renderers import Window
from forethought.envs.shipped import shipped
from forethought.envs.system_env import given_state


class GymnasiumSystem(gym.Env):
    """Observations are states (float32), actions are in the task's units, the reward is `-cost(x, u, t)`.

    The environment never truncates; `gymnasium.make` adds the time limit.
    """

    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 20}

    def __init__(self, name: str, *, render_mode: str | None = None):
        self.system = shipped(name)
        task = self.system.task
        self.metadata = {**self.metadata, "render_fps": round(1 / task.dt)}
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (self.system.space.size,), np.float32)
        self.action_space = gym.spaces.Box(
            np.asarray(box_of(task).low, np.float32), np.asarray(box_of(task).high, np.float32)
        )
        self._state: np.ndarray | None = None
        self._action: np.ndarray | None = None
        self._steps = 0
        self._window: Window | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """A state drawn from `task.initial`, or given by the options of `SystemEnv.start`."""
        super().reset(seed=seed)
        x = np.asarray(_initial(self.system.problem, self._key()))
        self._state = np.asarray(given_state(self.system, options or {}, x))
        self._action, self._steps = None, 0
        self._show()
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One step of `dt`; actions are clipped to their limits."""
        if self._state is None:
            raise gym.error.ResetNeeded(f"Call reset() before step() on {self.system.name}.")
        u = np.asarray(action, self._state.dtype)
        if u.shape != self.action_space.shape or not np.isfinite(u).all():
            raise ValueError(f"An action is {self.action_space.shape} finite numbers; got {action!r}.")
        x, t = jnp.asarray(self._state), jnp.asarray(self._steps)
        x_next, done, reward, terminated = _step(self.system.problem, x, jnp.asarray(u), t, self._key())
        self._state, self._action, self._steps = np.asarray(x_next), np.asarray(done), self._steps + 1
        self._show()
        return self._observation(), float(reward), bool(terminated), False, {}

    def render(self) -> np.ndarray | None:
        """The state as an RGB picture [height, width, 3] uint8, or shown in a window (render mode human)."""
        if self.render_mode != "rgb_array" or self._state is None:
            return None
        return self._picture()

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            self._window.close()
            self._window = None

    def _observation(self) -> np.ndarray:
        return np.array(self._state, np.float32)

    def _picture(self) -> np.ndarray:
        assert self._state is not None  # both callers come after a reset
        return self.system.picture(self._state, self._action, self._steps * self.system.task.dt)

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or Window(self.system.name, fps=1 / self.system.task.dt)
            self._window.show(self._picture())

    def _key(self) -> PRNGKeyArray:
        return jr.key(int(self.np_random.integers(2**31)))


@eqx.filter_jit
def _initial(problem: Problem, key: PRNGKeyArray) -> Float[Array, "n"]:
    return problem.task.initial(key=key)


@eqx.filter_jit
def _step(
    problem: Problem, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""], key: PRNGKeyArray
) -> tuple[Float[Array, "n"], Float[Array, "m"], Float[Array, ""], Bool[Array, ""]]:
    task = problem.task
    u = jnp.clip(u, box_of(task).low, box_of(task).high)
    x_next = problem.dynamics(x, u, t).sample(key=key)
    return x_next, u, -step_cost(task, x, u, x_next, t), task.terminal(x_next)
