"""A small environment and a small algorithm, whose state has everything a checkpoint must keep.

As a program, `python toy.py OUT ITERATIONS [SLOW]` trains (and resumes) in OUT; SLOW stretches every fsync to SLOW
seconds, so that a kill falls between two files as often as between two rounds.
"""

import sys
import time
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.algorithms.protocol import Info
from forethought.core import Box, Buffer, EnvironmentFailure, Transition
from forethought.dynamics.space import StateSpace
from forethought.envs.episode import run_episode


class ToyTask(eqx.Module):
    """Bring a point to rest at zero; solved where the last state is near it."""

    action_space: Any
    horizon: int = 7
    dt: float = 0.1
    near: float | None = 1e9

    def initial(self, *, key):
        return jr.normal(key, (2,))

    def cost(self, x, u, t):
        return (x**2).sum() + 0.1 * (u**2).sum()

    def final_cost(self, x):
        return jnp.zeros(())

    def terminal(self, x):
        return jnp.zeros((), bool)

    def solved(self, trajectory):
        return None if self.near is None else jnp.linalg.norm(trajectory.xs[-1]) < self.near


class ToyEnv:
    """A noisy double integrator; it fails in episode `fails_at` (counted in this process) at step 3."""

    name = "toys/Point-v0"
    space = StateSpace(2)
    learn_reward = False
    learn_termination = False

    def __init__(self, near: float | None = 1e9, fails_at: int | None = None, bad_reward: bool = False):
        self.task = ToyTask(Box.symmetric(jnp.ones(1)), near=near)
        self.fails_at, self.bad_reward, self.count = fails_at, bad_reward, 0

    run = run_episode

    def start(self, *, key, reset_key=None, options=None, frames=None):
        self.count += 1
        return ToyEpisode(self, key, reset_key)


class ToyEpisode:
    """An episode of a `ToyEnv`."""

    def __init__(self, env, key, reset_key):
        start_key, self.control_key, self.step_key = jr.split(key, 3)
        self.env, self.over, self.t, self.carry = env, False, 0, None
        self.noise = np.random.default_rng(np.asarray(jr.key_data(self.step_key)))
        self.x = np.asarray(env.task.initial(key=start_key if reset_key is None else reset_key))

    def advance(self, controller, *, steps, on_step=None):
        env, rows = self.env, []
        if self.t == 0:
            self.carry = controller.init(jnp.asarray(self.x), key=self.control_key)
        for _ in range(steps):
            if env.count == env.fails_at and self.t == 3:
                raise EnvironmentFailure(f"{env.name} raised at step 3: the motor is hot.", _stack(rows))
            u, self.carry = _act(controller, jnp.asarray(self.x), jnp.asarray(self.t), self.carry, self.step_key)
            x, u = self.x, np.asarray(u)
            x_next = np.asarray([x[0] + 0.1 * x[1], x[1] + 0.1 * u[0]]) + 0.01 * self.noise.normal(size=2)
            self.x = x_next.astype(np.float32)
            reward = np.nan if env.bad_reward else -float(env.task.cost(x, u, self.t))
            self.t += 1
            self.over = self.t == env.task.horizon
            rows.append(Transition(x, u, self.x, *map(np.asarray, (np.float32(reward), False, self.over))))
            if on_step is not None:
                on_step(self.t, reward)
            if self.over:
                break
        return _stack(rows)


@eqx.filter_jit
def _act(controller, x, t, carry, key):
    return controller.act(x, t, carry, key=jr.fold_in(key, t))


def _stack(rows):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *rows)


def price(x, u):
    """A cost for any system."""
    return (x**2).sum() + (u**2).sum()


def never(x):
    """No state is terminal."""
    return (x != x).any()


class Feedback(eqx.Module):
    """u = K x + noise; its memory counts calls."""

    K: Any
    noise: Any

    def init(self, x0, *, key):
        return jnp.zeros((), jnp.int32)

    def act(self, x, t, carry, *, key):
        return jnp.clip(self.K @ x + self.noise * jr.normal(key, (1,)), -1, 1), carry + 1


class ToyState(eqx.Module):
    buffer: Buffer
    weights: Any
    key: Any
    half: Any
    rounds: int
    host: np.ndarray
    activation: Any = jnp.tanh


@dataclass(frozen=True)
class Noise:
    std: float = 0.3  # of the exploration


@dataclass(frozen=True)
class LeastSquares:
    """Random exploration, then a linear model by least squares."""

    ridge: float = 1e-3  # regularization
    noise: Noise = Noise()
    episodes: int = 1  # per round
    loss: float = 0.5  # reported as the model's loss
    sizes: tuple[int, ...] = (3, 2)

    def init(self, env, *, key):
        buffer = Buffer.empty(2, 1, capacity=8)
        return ToyState(buffer, jnp.zeros((3, 2)), key, jnp.zeros(2, jnp.bfloat16), 0, np.zeros(3))

    def iterate(self, state, env, *, key):
        run_key, own_key = jr.split(key)
        noise = np.random.default_rng([*np.asarray(jr.key_data(state.key)), state.rounds])
        gains = noise.normal(size=(1, 2)) + np.asarray(state.weights).sum()
        controller = Feedback(jnp.asarray(gains, jnp.float32), jnp.asarray(self.noise.std))
        episodes = [env.run(controller, key=jr.fold_in(run_key, i)) for i in range(self.episodes)]
        buffer = state.buffer
        for episode in episodes:
            buffer = buffer.append(episode)
        x, u, x_next = (np.asarray(a)[: int(buffer.size)] for a in (buffer.data.x, buffer.data.u, buffer.data.x_next))
        z = np.concatenate([x, u], axis=1)
        weights = np.linalg.solve(z.T @ z + self.ridge * np.eye(3), z.T @ x_next).astype(np.float32)
        half = (state.half + jnp.asarray(weights[0], jnp.bfloat16)) * 0.5
        host = state.host + np.asarray(weights[:, 0], np.float64)
        after = ToyState(buffer, jnp.asarray(weights), jr.fold_in(own_key, 1), half, state.rounds + 1, host)
        return after, Info(episodes, {"model_error": float(np.sum(weights**2)), "loss": self.loss})

    def controller(self, state, env):
        return Feedback(-jnp.ones((1, 2)) * state.weights.sum(), jnp.asarray(0.0))


@dataclass(frozen=True)
class Wander:
    """Learns nothing."""

    size: int = 4  # of the state

    def init(self, env, *, key):
        return jr.uniform(key, ())

    def iterate(self, state, env, *, key):
        return state + 1, Info([env.run(self.controller(state, env), key=key)], {})

    def controller(self, state, env):
        return Feedback(jnp.ones((1, self.size)), state)


def leaves(state) -> dict[str, bytes]:
    """The bits of every leaf by name."""
    from forethought.runs.checkpoint import named_leaves

    def bits(leaf):
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jr.key_data(leaf) if is_key else leaf)
        return (str(array.dtype), array.shape, array.tobytes())

    return {name: bits(leaf) for name, leaf in named_leaves(state).items() if not callable(leaf)}


if __name__ == "__main__":
    import os

    import forethought as ft

    out, iterations, slow = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    real_fsync = os.fsync

    def slow_fsync(handle):
        time.sleep(slow)
        real_fsync(handle)

    os.fsync = slow_fsync
    print("ready", flush=True)
    ft.train(LeastSquares(), ToyEnv(), iterations=iterations, out=out, resume=True, progress=slow > 0)
