"""mbrl's side of `time_to_solve.py`: its own PETS loop on its own cart-pole, with one of its example settings.

The loop is `mbrl.algorithms.pets.train`, unchanged.  A wrapper around the environment counts steps and ends the run at
the first planned episode of 200 steps in which the pole did not fall.  Prints one JSON object.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time

import gymnasium
import mbrl.algorithms.pets
import mbrl_patches
import numpy as np
import torch
from mbrl.env import reward_fns, termination_fns
from mbrl.env.cartpole_continuous import CartPoleEnv
from mbrl_settings import OPTIMizERS, settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(OPTIMizERS), default="pets_icem_cartpole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--max-steps", type=int, default=None, help="real steps before giving up; else the example's")
    parser.add_argument("--population", type=int, default=None, help="smaller, to try the script")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mbrl_patches.apply()
    cfg = settings(arguments.setting, seed=arguments.seed)
    if arguments.max_steps:
        cfg.algorithm.dataset_size = arguments.max_steps + cfg.overrides.trial_length
        cfg.overrides.num_steps = arguments.max_steps - cfg.algorithm.initial_exploration_steps  # planned steps
    if arguments.population:
        cfg.overrides.cem_population_size = arguments.population
    start = time.perf_counter()
    env, solved = run(cfg)
    report = {"solved": solved, "env_steps": env.steps, "episodes": env.lengths, "loop_s": time.perf_counter() - start}
    report |= {"setting": arguments.setting, "seed": arguments.seed, "threads": torch.get_num_threads()}
    print(json.dumps(report | {"torch": torch.__version__, "mbrl": mbrl.__version__}))


def run(cfg) -> tuple["StopWhenSolved", bool]:
    limited = gymnasium.wrappers.TimeLimit(CartPoleEnv(), max_episode_steps=cfg.overrides.trial_length)
    env = StopWhenSolved(limited, exploration=cfg.algorithm.initial_exploration_steps)
    env.reset(seed=cfg.seed)
    env.action_space.seed(cfg.seed)
    np.random.seed(cfg.seed)  # noqa: NPY002  the peer's own way
    torch.manual_seed(cfg.seed)
    try:
        # It prints where it saves; standard output is for the report.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
            mbrl.algorithms.pets.train(
                env, termination_fns.cartpole, reward_fns.cartpole, cfg, silent=True, work_dir=folder
            )
    except Solved:
        return env, True
    return env, False


class Solved(Exception):
    """The task is done."""


class StopWhenSolved(gymnasium.Wrapper):
    """Counts real steps; raises `Solved` at the first planned episode that reaches the time limit without a fall."""

    def __init__(self, env: gymnasium.Env, *, exploration: int):
        super().__init__(env)
        self.exploration = exploration  # random steps that come first
        self.steps = 0
        self.lengths = []  # of planned episodes
        self.current = 0

    def reset(self, **options):
        self.current = 0
        return self.env.reset(**options)

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        self.current += 1
        if self.steps > self.exploration and (terminated or truncated):
            self.lengths.append(self.current)
            if not terminated:
                raise Solved
        return observation, reward, terminated, truncated, info


if __name__ == "__main__":
    main()
