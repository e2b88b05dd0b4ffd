"""crocoddyl's side of `speed_trajopt.py`: its unicycle, its DDP solver (C++); prints one JSON object.

The solver is asked for the same accuracy as ours by its own criterion, the sum of squared gradients (`th_stop`), and
each solve starts with zero actions, as ours.  Only `rollout` and `solve` are timed, not the making of the problem.
"""

import argparse
import json
import time

import crocoddyl
import numpy as np

STEPS, MOST_ITERATIONS = 100, 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--stop", type=float, default=1e-9)
    arguments = parser.parse_args()
    model = crocoddyl.ActionModelUnicycle()
    problem = crocoddyl.ShootingProblem(np.zeros(3), [model] * STEPS, model)
    problem.nthreads = 1
    solver = crocoddyl.SolverDDP(problem)
    solver.th_stop = arguments.stop
    solve(problem, solver, np.array([-1.0, -1.0, 1.0]))
    single = [solve(problem, solver, np.array([-1.0, -1.0, 1.0])) for _ in range(arguments.repeats)]
    report = {"crocoddyl": crocoddyl.__version__, "iterations": single[0][1], "cost": single[0][2]}
    report["iteration_ms"] = [1e3 * seconds / iterations for seconds, iterations, *_ in single]
    report["batches"] = {}
    for size in arguments.batches:
        x0s = np.random.default_rng(size).uniform(-1.5, 1.5, (size, 3))
        rounds = []
        for _ in range(5):
            solved = [solve(problem, solver, x0) for x0 in x0s]
            rounds.append(sum(one[0] for one in solved))
        report["batches"][size] = {
            "problems_per_s": [size / seconds for seconds in rounds],
            "iterations": sum(one[1] for one in solved),
            "most_iterations": max(one[1] for one in solved),
            "costs": [one[2] for one in solved],
            "converged": sum(one[3] for one in solved),
        }
    print(json.dumps(report))


def solve(problem, solver, x0) -> tuple[float, int, float, bool]:
    """Seconds, iterations, cost, converged."""
    problem.x0 = x0
    us = [np.zeros(2)] * STEPS
    start = time.perf_counter()
    xs = problem.rollout(us)
    converged = solver.solve(xs, us, MOST_ITERATIONS, True)
    return time.perf_counter() - start, solver.iter + 1, solver.cost, bool(converged)  # it counts from 0


if __name__ == "__main__":
    main()
