"""mbrl's side of `speed_planning.py`: seconds for one `act` of PETS with CEM; prints one JSON object."""

import argparse
import json
import statistics
import time

import mbrl.models
import mbrl.planning
import mbrl.util.common
import mbrl_patches
import numpy as np
import torch
from mbrl.env import reward_fns, termination_fns
from mbrl.env.cartpole_continuous import CartPoleEnv
from mbrl_settings import five_members


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--acts", type=int, default=7)
    parser.add_argument("--population", type=int, default=None, help="smaller, to try the script")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    mbrl_patches.apply()
    cfg = five_members()
    if arguments.population:
        cfg.overrides.cem_population_size = arguments.population
    agent = make_agent(cfg)
    rng = np.random.default_rng(0)
    states = rng.uniform(-0.05, 0.05, size=(arguments.acts + 2, 4))
    act_s = [timed(agent.act, state) for state in states][2:]  # two to warm up
    layer = layer_gflops(torch.randn(5, 1400, 200), torch.randn(5, 200, 200))
    report = {"act_s": statistics.median(act_s), "all_act_s": act_s, "layer_gflops": layer}
    report |= {"threads": torch.get_num_threads(), "torch": torch.__version__, "mbrl": mbrl.__version__}
    print(json.dumps(report))


def make_agent(cfg) -> mbrl.planning.TrajectoryOptimizerAgent:
    env = CartPoleEnv()
    shapes = env.observation_space.shape, env.action_space.shape
    model = mbrl.util.common.create_one_dim_tr_model(cfg, *shapes)
    imagined = mbrl.models.ModelEnv(env, model, termination_fns.cartpole, reward_fns.cartpole)
    return mbrl.planning.create_trajectory_optim_agent_for_model(
        imagined, cfg.algorithm.agent, num_particles=cfg.algorithm.num_particles
    )


def layer_gflops(h: torch.Tensor, weights: torch.Tensor, *, layers: int = 50) -> float:
    """The rate of the batched products that the planner is made of, in this library."""
    weights = weights / h.shape[-1] ** 0.5  # keeps the numbers near 1
    flops = 2 * h.numel() * weights.shape[-1]

    def product() -> None:
        x = h
        for _ in range(layers):
            x = torch.matmul(x, weights)

    return max(flops * layers / timed(product) for _ in range(8)) / 1e9


def timed(f, *arguments) -> float:
    start = time.perf_counter()
    f(*arguments)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
