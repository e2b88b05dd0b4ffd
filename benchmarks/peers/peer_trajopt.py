"""crocoddyl's side of `speed_trajopt.py`: its unicycle, an arm, its DDP solver (C++); prints one JSON object.

The solver is asked for the same accuracy as ours by its own criterion, the sum of squared gradients (`th_stop`), and
each solve starts with zero actions, as ours.  Only `rollout` and `solve` are timed, not the making of the problem.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import crocoddyl
import numpy as np
import pinocchio

sys.path.append(str(Path(__file__).resolve().parents[1]))
import arm_reach  # noqa: E402

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
    report = {"crocoddyl": crocoddyl.__version__, "pinocchio": pinocchio.__version__, "batches": {}}
    report |= timed(problem, solver, np.array([-1.0, -1.0, 1.0]), arguments.repeats)
    report["arm"] = arm(arguments.repeats, arguments.stop)
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


def timed(problem, solver, x0, repeats: int) -> dict:
    """The same solve again and again, the first one not counted."""
    runs = [solve(problem, solver, x0) for _ in range(repeats + 1)][1:]
    report = {"iterations": runs[0][1], "cost": runs[0][2]}
    report["iteration_ms"] = [1e3 * run[0] / run[1] for run in runs]
    report["iteration_cpu_ms"] = [1e3 * run[4] / run[1] for run in runs]
    return report


def arm(repeats: int, stop: float) -> dict:
    """The six-joint arm: pinocchio's ABA and its derivatives."""
    model = pinocchio.buildModelFromMJCF(str(arm_reach.MODEL))
    state = crocoddyl.StateMultibody(model)

    def action(weight: float, effort: float, dt: float):
        costs, size = crocoddyl.CostModelSum(state), model.nv
        activation = crocoddyl.ActivationModelWeightedQuad(np.array(arm_reach.WEIGHTS))
        residual = crocoddyl.ResidualModelState(state, np.array(arm_reach.GOAL), size)
        costs.addCost("reach", crocoddyl.CostModelResidual(state, activation, residual), weight)
        if effort:
            torques = crocoddyl.ResidualModelControl(state, size)
            costs.addCost("effort", crocoddyl.CostModelResidual(state, torques), effort)
        motors = crocoddyl.ActuationModelFull(state)
        dynamics = crocoddyl.DifferentialActionModelFreeFwdDynamics(state, motors, costs)
        require_gravity(model, dynamics)
        return crocoddyl.IntegratedActionModelEuler(dynamics, dt)

    step, last = action(1.0, arm_reach.EFFORT, arm_reach.DT), action(arm_reach.FINAL, 0.0, 0.0)
    problem = crocoddyl.ShootingProblem(np.zeros(state.nx), [step] * STEPS, last)
    problem.nthreads = 1
    solver = crocoddyl.SolverDDP(problem)
    solver.th_stop = stop
    us = [np.full(model.nv, arm_reach.PUSH)] * STEPS
    report = {"cost_when_pushed": problem.calc(problem.rollout(us), us)}
    return report | timed(problem, solver, np.zeros(state.nx), repeats)


def require_gravity(model, dynamics) -> None:
    """crocoddyl 3.2.1 with pinocchio 4.1 reads another memory layout than it was built for: gravity vanishes."""
    data, x = dynamics.createData(), np.linspace(-1.0, 1.0, 2 * model.nv)
    u = np.linspace(-2.0, 2.0, model.nv)
    dynamics.calc(data, x, u)
    expected = pinocchio.aba(model, model.createData(), x[: model.nv], x[model.nv :], u)
    if not np.allclose(data.xout, expected, atol=1e-9):
        raise SystemExit("crocoddyl and pinocchio do not fit: make the environment again with setup_crocoddyl.py.")


def solve(problem, solver, x0) -> tuple[float, int, float, bool, float]:
    """Seconds, iterations, cost, converged, seconds of the processor."""
    problem.x0 = x0
    us = [np.zeros(model.nu) for model in problem.runningModels]
    start, cpu = time.perf_counter(), time.process_time()
    xs = problem.rollout(us)
    converged = solver.solve(xs, us, MOST_ITERATIONS, True)
    seconds, cpu_s = time.perf_counter() - start, time.process_time() - cpu
    return seconds, solver.iter + 1, solver.cost, bool(converged), cpu_s  # it counts iterations from 0


if __name__ == "__main__":
    main()
