"""Stable-Baselines3's side of `speed_minatar.py`: steps of PPO on MinAtar per second; prints one JSON object.

The network is that of ours: one convolution of 16 kernels 3 x 3 and a layer of 128 units, shared by policy and value.
"""

import argparse
import json
import time
from importlib.metadata import version

import gymnasium as gym
import numpy as np
import torch
from minatar import Environment
from stable_baselines3 import PPO
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

COPIES, STEPS, EPOCHS, MINIBATCHES = 64, 8192, 4, 8
NAMES = {"Asterix": "asterix", "Breakout": "breakout", "Freeway": "freeway", "SpaceInvaders": "space_invaders"}


class Game(gym.Env):
    """MinAtar with the actions that have an effect; images [channels, 10, 10]."""

    def __init__(self, name: str, seed: int):
        self.game = Environment(name)
        self.game.seed(seed)
        self.actions = self.game.minimal_action_set()
        self.action_space = gym.spaces.Discrete(len(self.actions))
        self.observation_space = gym.spaces.Box(0, 1, (self.game.n_channels, 10, 10), np.float32)

    def reset(self, *, seed=None, options=None):  # noqa: ARG002 - the interface
        self.game.reset()
        return self.observation(), {}

    def step(self, action):
        reward, over = self.game.act(self.actions[int(action)])
        return self.observation(), float(reward), bool(over), False, {}

    def observation(self) -> np.ndarray:
        return np.moveaxis(self.game.state(), -1, 0).astype(np.float32)


class Features(BaseFeaturesExtractor):
    """The shared layers."""

    def __init__(self, space):
        super().__init__(space, 128)
        layers = [torch.nn.Conv2d(space.shape[0], 16, 3), torch.nn.ReLU(), torch.nn.Flatten()]
        self.layers = torch.nn.Sequential(*layers, torch.nn.Linear(1024, 128), torch.nn.ReLU())

    def forward(self, x):
        return self.layers(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--games", nargs="+", default=list(NAMES))
    parser.add_argument("--updates", type=int, default=2)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    rates = {game: rate(NAMES[game], flags.updates) for game in flags.games}
    versions = {"torch": torch.__version__, "sb3": version("stable-baselines3"), "minatar": version("minatar")}
    print(json.dumps({"rates": rates, "threads": torch.get_num_threads(), **versions}))


def rate(name: str, updates: int) -> float:
    """Steps per second; nothing is compiled, so nothing has to warm up but one step."""
    envs = VecMonitor(DummyVecEnv([lambda seed=seed: Game(name, seed) for seed in range(COPIES)]))
    model = PPO(
        "CnnPolicy",
        envs,
        n_steps=STEPS // COPIES,
        batch_size=STEPS // MINIBATCHES,
        n_epochs=EPOCHS,
        ent_coef=0.01,
        learning_rate=5e-4,
        policy_kwargs={"features_extractor_class": Features, "net_arch": [], "normalize_images": False},
        device="cpu",
        seed=0,
    )
    begin = time.perf_counter()
    model.learn(updates * STEPS)
    return updates * STEPS / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
