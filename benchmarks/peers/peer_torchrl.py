"""TorchRL's side of `speed_pilco.py`: its GP world model, RBF controller and cost; prints one JSON object.

The parts know no angles: the state goes into model and policy as it is, five inputs in place of our six; the squash is
a plain sine, the cost a function of the state.  It is less work than ours, of the same sizes; its value is another.
"""

import argparse
import json
import resource
import statistics
import time
from importlib.metadata import version

import numpy as np
import torch
from tensordict import TensorDict
from torchrl.modules import GPWorldModel, RBFController
from torchrl.objectives.pilco import ExponentialQuadraticCost

HORIZON, FORCE, WIDTH = 40, 10.0, 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="an .npz, as speed_pilco.py writes it")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.set_default_dtype(torch.float64)
    data = {name: torch.as_tensor(array) for name, array in np.load(arguments.data).items()}
    model, policy, cost = world_model(data), controller(data), distance()
    start = data["start_mean"], data["start_cov"]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = [], []
    for _ in range(arguments.repeats + 1):  # the first one warms up
        policy.zero_grad()
        begin, begin_cpu = time.perf_counter(), time.process_time()
        value = expected_cost(model, policy, cost, *start)
        value.backward()
        wall.append(time.perf_counter() - begin)
        cpu.append(time.process_time() - begin_cpu)
    report = {
        "value": float(value.detach()),
        "gradient_norm": float(sum(p.grad.square().sum() for p in policy.parameters()) ** 0.5),
        "first_s": wall[0],
        "median_s": statistics.median(wall[1:]),
        "best_s": min(wall[1:]),
        "cpu_s": statistics.median(cpu[1:]),
        "best_cpu_s": min(cpu[1:]),
        "memory_mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024,
        "version": version("torchrl"),
    }
    print(json.dumps(report))


def expected_cost(model, policy, cost, mean, cov) -> torch.Tensor:
    """Sum over the states 0 to HORIZON."""
    total = 0.0
    for _ in range(HORIZON):
        total = total + cost(TensorDict({"observation": {"mean": mean, "var": cov}}))["loss_cost"]
        u_mean, u_cov, slope = policy(mean, cov)
        belief = TensorDict(
            {
                "action": {"mean": u_mean, "var": u_cov, "cross_covariance": slope},
                "observation": {"mean": mean, "var": cov},
            }
        )
        after = model.uncertain_forward(belief)["next", "observation"]
        mean, cov = after["mean"], after["var"]
    return total + cost(TensorDict({"observation": {"mean": mean, "var": cov}}))["loss_cost"]


def world_model(data: dict[str, torch.Tensor]) -> GPWorldModel:
    """Its own conditioning, with hyper-parameters as given: of our six lengthscales, sine's serves for the angle."""
    model = GPWorldModel(obs_dim=4, action_dim=1)
    x, y = data["x"], data["y"]
    model.X_tilde_train = torch.cat([x, data["u"]], dim=1)
    model.ell = data["lengthscale"][:, [0, 1, 3, 2, 5]]
    model.alpha_sq, model.sigma_sq_eps = data["signal"][:, None] ** 2, data["noise"] ** 2
    inverses, weights = [], []
    for a in range(4):
        scaled = model.X_tilde_train / model.ell[a]
        K = model.alpha_sq[a] * torch.exp(-0.5 * torch.cdist(scaled, scaled) ** 2)
        factor = torch.linalg.cholesky(K + model.sigma_sq_eps[a] * torch.eye(len(x)))
        inverses.append(torch.cholesky_inverse(factor))
        weights.append(torch.cholesky_solve(y[:, a, None], factor)[:, 0])
    model._cached_inv_K_noisy, model._cached_beta = torch.stack(inverses), torch.stack(weights)
    return model


def controller(data: dict[str, torch.Tensor]) -> RBFController:
    """Centers at states that were seen."""
    units = len(data["centers"])
    policy = RBFController(4, 1, FORCE, n_basis=units)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        policy.centers.copy_(data["x"][torch.randint(len(data["x"]), (units,), generator=generator)])
        policy.weights.copy_(data["targets"])
        policy.lengthscales.copy_(data["x"].std(0))
    return policy


def distance() -> ExponentialQuadraticCost:
    """Position and angle, from upright, in units of WIDTH."""
    weights = torch.diag(torch.tensor([1.0, 0.0, 1.0, 0.0])) / WIDTH**2
    return ExponentialQuadraticCost(torch.tensor([0.0, 0.0, torch.pi, 0.0]), weights, reduction="none")


if __name__ == "__main__":
    main()
