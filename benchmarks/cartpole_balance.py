"""The continuous cart-pole of the peer, balance only, as a Gymnasium environment; cost and termination for JAX.

State x = [position m, velocity m/s, angle rad from upright, angular velocity rad/s]; action u in [-1, 1], 10 N each.
Explicit Euler at 0.02 s; 200 steps; starts uniformly within 0.05 of upright rest.  Reward 1 for every step, the last
one included; the episode fails beyond 2.4 m or 12 degrees.  `tests/benchmarks/test_cartpole_balance.py` steps it
against Gymnasium's own CartPole-v1, which has the same physics with two actions.
Source of equations and constants: Barto, Sutton & Anderson (1983), as in Gymnasium's CartPole and mbrl 0.2.0.
"""

import math

import gymnasium as gym
import jax.numpy as jnp
import numpy as np

GRAVITY = 9.8  # m/s^2
CART, POLE = 1.0, 0.1  # kg
HALF_LENGTH = 0.5  # m
FORCE = 10.0  # N at full action
DT = 0.02  # s
MAX_POSITION = 2.4  # m
MAX_ANGLE = math.radians(12)
STEPS = 200


class CartPoleBalance(gym.Env):
    """Keep the pole up for 200 steps."""

    metadata = {"render_modes": []}
    dt = DT

    def __init__(self):
        high = np.array([2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf], np.float32)
        self.observation_space = gym.spaces.Box(-high, high, dtype=np.float32)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        self._x = np.zeros(4)

    def reset(self, *, seed=None, options=None):
        del options
        super().reset(seed=seed)
        self._x = self.np_random.uniform(-0.05, 0.05, size=4)
        return self._x.astype(np.float32), {}

    def step(self, action):
        self._x = advance(self._x, float(np.clip(action, -1, 1).item()))
        failed = abs(self._x[0]) > MAX_POSITION or abs(self._x[2]) > MAX_ANGLE
        return self._x.astype(np.float32), 1.0, bool(failed), False, {}


def advance(x: np.ndarray, u: float) -> np.ndarray:
    """The state after `DT`."""
    _, velocity, angle, spin = x
    s, c, total = math.sin(angle), math.cos(angle), CART + POLE
    push = (FORCE * u + POLE * HALF_LENGTH * spin**2 * s) / total
    spin_rate = (GRAVITY * s - c * push) / (HALF_LENGTH * (4 / 3 - POLE * c**2 / total))
    acceleration = push - POLE * HALF_LENGTH * spin_rate * c / total
    return x + DT * np.array([velocity, acceleration, spin, spin_rate])


def make() -> gym.Env:
    """With its time limit."""
    return gym.wrappers.TimeLimit(CartPoleBalance(), STEPS)


def cost(x, u):
    """Minus the reward: a step is worth 1 as long as there is a next one."""
    del u
    return -jnp.ones((), x.dtype)


def termination(x):
    """The pole has fallen, or the cart has left the track."""
    return (jnp.abs(x[0]) > MAX_POSITION) | (jnp.abs(x[2]) > MAX_ANGLE)
