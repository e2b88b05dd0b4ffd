"""Stable-Baselines3's side of `speed_learners.py`: updates of SAC and steps of PPO per second; prints one JSON object.

SAC: `train` on a full buffer of made-up rows, no environment stepped.  PPO: `learn`, experience and updates together.
"""

import argparse
import json
import time
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import configure

OBSERVATIONS, ACTIONS, UNITS, BATCH = 17, 6, 256, 256
STEPS, EPOCHS, MINIBATCHES, COPIES = 2048, 4, 4, 8
SYSTEMS = {"pendulum": "Pendulum-v1", "cart-pole": "CartPole-v1"}


class Spaces(gym.Env):
    """Nothing but spaces."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (OBSERVATIONS,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (ACTIONS,), np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002 - the interface
        return np.zeros(OBSERVATIONS, np.float32), {}

    def step(self, action):  # noqa: ARG002 - the interface
        return np.zeros(OBSERVATIONS, np.float32), 0.0, False, False, {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--updates", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20_000)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rates = {"sac updates": sac_rate(arguments.updates)}
    rates |= {f"ppo, {name}": ppo_rate(env, arguments.steps) for name, env in SYSTEMS.items()}
    versions = {"torch": torch.__version__, "sb3": version("stable-baselines3")}
    print(json.dumps({"rates": rates, "threads": torch.get_num_threads(), **versions}))


def sac_rate(updates: int) -> float:
    """Updates per second, after 50 that warm up."""
    policy = {"net_arch": [UNITS, UNITS]}
    model = SAC("MlpPolicy", Spaces(), batch_size=BATCH, buffer_size=10_000, policy_kwargs=policy, device="cpu", seed=0)
    model.set_logger(configure(None, []))
    rng = np.random.default_rng(0)
    for _ in range(10_000):
        x, u = rng.normal(size=(1, OBSERVATIONS)), rng.uniform(-1, 1, size=(1, ACTIONS))
        model.replay_buffer.add(x, x + 0.1, u, u[:, 0], np.zeros(1), [{}])
    model.train(50, BATCH)
    begin = time.perf_counter()
    model.train(updates, BATCH)
    return updates / (time.perf_counter() - begin)


def ppo_rate(env: str, steps: int) -> float:
    """Steps per second, after one update that warms up."""
    model = PPO(
        "MlpPolicy",
        make_vec_env(env, n_envs=COPIES, seed=0),
        n_steps=STEPS // COPIES,
        batch_size=STEPS // MINIBATCHES,
        n_epochs=EPOCHS,
        policy_kwargs={"net_arch": {"pi": [64, 64], "vf": [64, 64]}},
        device="cpu",
        seed=0,
    )
    model.learn(STEPS)
    begin = time.perf_counter()
    model.learn(steps)
    done = -(-steps // STEPS) * STEPS
    return done / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
