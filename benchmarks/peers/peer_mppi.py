"""pytorch-mppi's side of `speed_mppi.py`: seconds for one command; prints one JSON object."""

import argparse
import json
import math
import statistics
import time
from importlib.metadata import version

import torch
from pytorch_mppi import MPPI

TEMPERATURE, NOISE, HORIZON = 1.0, 1.0, 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--population", type=int, default=1000)
    parser.add_argument("--acts", type=int, default=100)
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    planner = MPPI(
        advance,
        cost,
        nx=2,
        noise_sigma=torch.tensor([[NOISE**2]]),
        num_samples=arguments.population,
        horizon=HORIZON,
        lambda_=TEMPERATURE,
        u_min=torch.tensor([-2.0]),
        u_max=torch.tensor([2.0]),
        U_init=torch.zeros(HORIZON, 1),
    )
    start = time.perf_counter()
    if arguments.compile:
        planner.compile()
    x, costs, act_s, act_cpu_s = torch.tensor([math.pi, 0.0]), [], [], []
    for _ in range(arguments.acts):
        before = time.perf_counter(), time.process_time()
        u = planner.command(x)
        act_s.append(time.perf_counter() - before[0])
        act_cpu_s.append(time.process_time() - before[1])
        costs.append(float(cost(x[None], u[None])))
        x = advance(x[None], u[None])[0]
    quarter = len(act_s) // 4
    report = {"act_s": statistics.median(act_s[quarter:]), "act_cpu_s": statistics.median(act_cpu_s[quarter:])}
    report |= {"least_act_s": min(act_s), "first_s": act_s[0], "episode_cost": sum(costs)}
    report |= {"wall_s": time.perf_counter() - start, "threads": torch.get_num_threads()}
    print(json.dumps(report | {"torch": torch.__version__, "pytorch_mppi": version("pytorch-mppi")}))


def advance(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Gymnasium's Pendulum-v1: angle 0 is upright, states [angle, speed], actions within 2 N m."""
    angle, speed, torque = x[:, 0], x[:, 1], u[:, 0].clamp(-2, 2)
    speed = (speed + (15.0 * torch.sin(angle) + 3.0 * torque) * 0.05).clamp(-8, 8)
    return torch.stack([angle + speed * 0.05, speed], dim=1)


def cost(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    angle = x[:, 0] - 2 * math.pi * torch.floor((x[:, 0] + math.pi) / (2 * math.pi))
    return angle**2 + 0.1 * x[:, 1] ** 2 + 0.001 * u[:, 0] ** 2


if __name__ == "__main__":
    main()
