"""A user-defined environment in plain Gymnasium and NumPy: steer a puck with drag to a target.

In the directory of this file, check the environment and its cost:

    forethought check my_env:TargetTracker-v0 --cost my_env:cost

and learn to control it:

    forethought train pets my_env:TargetTracker-v0 --cost my_env:cost --termination my_env:termination --iterations 6
"""

import gymnasium
import jax.numpy as jnp
import numpy as np


class TargetTracker(gymnasium.Env):
    """Observation: position [2] (m), velocity [2] (m/s), target [2] (m).  Action: force [2] (N), each within 1 N."""

    metadata = {"render_modes": [], "render_fps": 10}
    dt = 0.1  # s per step
    mass = 0.5  # kg
    drag = 0.3  # N s/m

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (6,), np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position, self.velocity = np.zeros(2), np.zeros(2)
        self.target = self.np_random.uniform(-1, 1, size=2)
        return self._observation(), {}

    def step(self, action):
        reward = -float(np.sum((self.position - self.target) ** 2) + 0.01 * np.sum(np.square(action)))
        acceleration = (action - self.drag * self.velocity) / self.mass
        self.velocity = self.velocity + self.dt * acceleration
        self.position = self.position + self.dt * self.velocity
        return self._observation(), reward, False, False, {}

    def _observation(self):
        return np.concatenate([self.position, self.velocity, self.target])


def cost(x, u):
    """Squared distance to the target plus a small action cost: the negative reward as a JAX function."""
    return jnp.sum((x[:2] - x[4:]) ** 2) + 0.01 * jnp.sum(u**2)


def termination(x):
    """Episodes end only by the time limit."""
    return jnp.zeros((), bool)


gymnasium.register("TargetTracker-v0", entry_point=TargetTracker, max_episode_steps=30)
