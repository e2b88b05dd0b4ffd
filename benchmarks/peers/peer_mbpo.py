"""mbrl's side of `speed_imagined.py`: its own MBPO loop on its own cart-pole, with its example settings.

The loop is `mbrl.algorithms.mbpo.train`, unchanged.  A wrapper around the test environment ends the run at the first
test episode of 200 steps in which the pole did not fall.  Prints one JSON object.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time

import gymnasium
import mbrl
import mbrl.algorithms.mbpo
import mbrl_patches
import numpy as np
import torch
from mbrl.env import termination_fns
from mbrl.env.cartpole_continuous import CartPoleEnv
from mbrl_settings import EXAMPLES
from omegaconf import OmegaConf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--random-steps", type=int, default=200)
    parser.add_argument("--max-steps", type=int, default=5000, help="real steps after the random ones")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mbrl_patches.apply()
    np.random.seed(arguments.seed)  # noqa: NPY002  the peer's own way
    torch.manual_seed(arguments.seed)
    cfg = OmegaConf.create(
        {
            "seed": arguments.seed,
            "device": "cpu",
            "log_frequency_agent": 1000,
            "algorithm": OmegaConf.load(EXAMPLES / "algorithm" / "mbpo.yaml"),
            "dynamics_model": OmegaConf.load(EXAMPLES / "dynamics_model" / "gaussian_mlp_ensemble.yaml"),
            "overrides": OmegaConf.load(EXAMPLES / "overrides" / "mbpo_cartpole.yaml"),
        }
    )
    cfg.algorithm.initial_exploration_steps = arguments.random_steps
    cfg.algorithm.random_initial_explore = True
    cfg.overrides.num_steps = arguments.max_steps
    cfg.algorithm.agent.action_space._target_ = "gymnasium.spaces.Box"
    env, test = Counting(cart_pole(cfg)), StopWhenSolved(cart_pole(cfg))
    for one, seed in ((env, arguments.seed), (test, arguments.seed + 1000)):
        one.reset(seed=seed)
        one.action_space.seed(seed)
    start, solved = time.perf_counter(), False
    try:
        # It prints where it saves; standard output is for the report.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            mbrl.algorithms.mbpo.train(env, test, termination_fns.cartpole, cfg, silent=True, work_dir=folder)
    except Solved:
        solved = True
    report = {"solved": solved, "env_steps": env.steps, "loop_s": time.perf_counter() - start}
    report |= {"seed": arguments.seed, "threads": torch.get_num_threads()}
    print(json.dumps(report | {"torch": torch.__version__, "mbrl": mbrl.__version__}))


def cart_pole(cfg) -> gymnasium.Env:
    return gymnasium.wrappers.TimeLimit(CartPoleEnv(), max_episode_steps=cfg.overrides.trial_length)


class Solved(Exception):
    """The task is done."""


class Counting(gymnasium.Wrapper):
    """Counts real steps."""

    steps = 0

    def step(self, action):
        self.steps += 1
        return self.env.step(action)


class StopWhenSolved(gymnasium.Wrapper):
    """Raises `Solved` when an episode reaches the time limit without a fall."""

    def step(self, action):
        told = self.env.step(action)
        if told[3] and not told[2]:
            raise Solved
        return told


if __name__ == "__main__":
    main()
