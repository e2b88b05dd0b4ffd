"""Small Gymnasium environments for tests: a linear system, and ones that misbehave in a chosen way at a chosen step."""

import gymnasium as gym
import numpy as np

A = np.array([[0.9, 0.2], [-0.1, 0.8]])
B = np.array([[0.0], [0.5]])


class Linear(gym.Env):
    """`x' = A x + B u`, noiseless, from a random start; terminated when `x[0] > bound`; reward `-x'x - u'u`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}

    def __init__(self, bound: float = np.inf, render_mode: str | None = None):
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.bound, self.render_mode = bound, render_mode
        self.seeds, self.actions = [], []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.x = self.np_random.normal(size=2)
        return self.x.copy(), {}

    def step(self, action):
        self.actions.append(action)
        reward = -float(self.x @ self.x + action @ action)
        self.x = A @ self.x + B @ action
        return self.x.copy(), reward, bool(self.x[0] > self.bound), False, {}

    def render(self):
        return np.full((4, 6, 3), len(self.actions), np.uint8)


class Misbehaving(Linear):
    """`Linear`, but step `at` (1 for the first) goes wrong: `change(observation, reward)` gives what is returned."""

    def __init__(self, at, change):
        super().__init__()
        self.at, self.change = at, change

    def step(self, action):
        observation, reward, *rest = super().step(action)
        if len(self.actions) == self.at:
            observation, reward = self.change(observation, reward)
        return observation, reward, *rest


class Drifting(Linear):
    """Something survives the reset."""

    offset = 0.0

    def step(self, action):
        self.offset += 1e-3
        x, *rest = super().step(action)
        self.x[0] += self.offset
        return self.x.copy(), *rest


class Cart(gym.Env):
    """A step takes 0.05 s; the environment says nothing of it, or a picture rate that is not the time step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, fps=None):
        self.metadata = {"render_modes": [], "render_fps": fps}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = np.array([0.0, 1.0]) + 0.1 * self.np_random.normal(size=2)
        return self.x.copy(), {}

    def step(self, action):
        speed = self.x[1] + 0.05 * (action[0] - 0.1 * self.x[1])
        self.x = np.array([self.x[0] + 0.05 * (self.x[1] + speed) / 2, speed])
        return self.x.copy(), 0.0, False, False, {}


def limited(env, steps=5):
    """With a time limit."""
    return gym.wrappers.TimeLimit(env, steps)
