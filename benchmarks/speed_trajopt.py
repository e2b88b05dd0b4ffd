"""iLQR: ours against crocoddyl 3.2.1 (C++), same problem, same start, same accuracy, in turns.

    python benchmarks/peers/setup_crocoddyl.py     # once
    python benchmarks/speed_trajopt.py

One problem is crocoddyl's unicycle: x = [px, py, heading], u = [speed, turn rate], one Euler step of 0.1 s, cost
0.5 (100 |x|^2 + |u|^2), 100 steps, no limits, from zero actions.  Both sides work in float64 and use the Gauss-Newton
form (no curvature of the dynamics).  crocoddyl stops where the sum of squared gradients is below 1e-9, ours where the
largest gradient is below `tolerance` times the cost; the costs that both reach are compared.
The other is a reach of a six-joint arm (`arm_reach.py`), both sides reading the same MJCF file: crocoddyl with
pinocchio's ABA and its derivatives, ours with `RigidBody`, and with MuJoCo's own steps and differences for comparison.
An iteration's time is that of a whole solve divided by its iterations; processor time, told beside wall clock, depends
less on what else the machine does.  Compilation is reported separately.
Batches of unicycles: crocoddyl solves one problem after the other on one thread; ours are `solve_batch`, with lanes.
"""

import json
import time
from pathlib import Path

import arm_reach
from common import BENCHMARKS, ROOT, arguments, describe, hardware, ours, peer, save, seconds, summary, table

STEPS = 100
BATCHES = [1, 16, 64, 256]
PYTHON = ROOT / ".venv-crocoddyl" / "bin" / "python"


def main() -> None:
    flags = arguments(
        __doc__,
        turns={"type": int, "default": 3, "help": "turns of each side"},
        repeats={"type": int, "default": 100, "help": "solves of the single problem in a turn"},
        lanes={"type": int, "default": 16, "help": "problems side by side in a batch"},
        peer_python={"type": Path, "default": PYTHON, "help": "the peer's Python"},
    )
    batches = BATCHES[:2] if flags.quick else BATCHES
    if flags.quick:
        flags.turns, flags.repeats = 1, 3
    if flags.measure:
        print(json.dumps(measure(flags.repeats, flags.lanes, batches)))
        return
    report = compare(flags, batches)
    show(report)
    if not flags.quick:
        machine = {key: report[key] for key in ("hardware", "steps", "threads")}
        print(f"saved: {save('speed_trajopt_arm', machine | report.pop('arm'))}")
        print(f"saved: {save('speed_trajopt', report)}")


def compare(flags, batches: list[int]) -> dict:
    """Both sides in turns."""
    machine, turns = hardware(), []
    for _ in range(flags.turns):
        numbers = ["--repeats", flags.repeats, "--batches", *batches]
        theirs = peer(
            "peer_trajopt.py", *numbers, python=flags.peer_python, setup=BENCHMARKS / "peers" / "setup_crocoddyl.py"
        )
        quick = ["--quick"] if flags.quick else []
        mine = ours(__file__, "--threads", flags.threads, "--repeats", flags.repeats, "--lanes", flags.lanes, *quick)
        turns.append({"crocoddyl": theirs, "forethought": mine})
    report = {"hardware": machine, "steps": STEPS, "threads": flags.threads, "lanes": flags.lanes, "batches": {}}
    report |= _single([{side: turn[side] for side in turn} for turn in turns])
    report["arm"] = _single([{side: turn[side]["arm"] for side in turn} for turn in turns])
    pushed = [report["arm"][side]["cost_when_pushed"] for side in ("crocoddyl", "forethought")]
    if abs(pushed[0] - pushed[1]) > 1e-9 * abs(pushed[0]):
        raise SystemExit(f"The sides do not solve the same problem: the pushed arm costs {pushed[0]} and {pushed[1]}.")
    report["arm"]["mujoco"] = turns[0]["forethought"]["arm"]["mujoco"]
    for size in map(str, batches):
        report["batches"][size] = _batch([{side: turn[side]["batches"][size] for side in turn} for turn in turns])
    return report


def _single(turns: list[dict]) -> dict:
    """One problem: time per iteration of both, and how many times slower ours is."""
    report = {}
    for side in ("crocoddyl", "forethought"):
        results = [turn[side] for turn in turns]
        clocks = {key: [t for result in results for t in result[key]] for key in ("iteration_ms", "iteration_cpu_ms")}
        kept = {key: results[0][key] for key in ("iterations", "cost", "cost_when_pushed") if key in results[0]}
        report[side] = kept | {key: summary(times) for key, times in clocks.items()}
    report["forethought"]["compile_s"] = summary([turn["forethought"]["compile_s"] for turn in turns])
    mine, theirs = report["forethought"], report["crocoddyl"]
    report["times_slower_per_iteration"] = {
        "median": mine["iteration_ms"]["median"] / theirs["iteration_ms"]["median"],
        "min": mine["iteration_ms"]["min"] / theirs["iteration_ms"]["min"],
        "processor": mine["iteration_cpu_ms"]["median"] / theirs["iteration_cpu_ms"]["median"],
    }
    report["cost_differs_by"] = abs(mine["cost"] - theirs["cost"]) / abs(theirs["cost"])
    return report


def _batch(turns: list[dict]) -> dict:
    """One size: rates of both, the median and the best of all rounds, and how far the costs differ."""
    rates = {side: [rate for turn in turns for rate in turn[side]["problems_per_s"]] for side in turns[0]}
    mine, theirs = turns[0]["forethought"], turns[0]["crocoddyl"]
    same = sum(abs(a - b) <= 1e-5 * abs(b) for a, b in zip(mine["costs"], theirs["costs"], strict=True))
    return {
        "crocoddyl_per_s": summary(rates["crocoddyl"]),
        "forethought_per_s": summary(rates["forethought"]),
        "times_faster": summary(rates["forethought"])["median"] / summary(rates["crocoddyl"])["median"],
        "times_faster_best": max(rates["forethought"]) / max(rates["crocoddyl"]),
        "iterations": {"crocoddyl": theirs["iterations"], "forethought": mine["iterations"]},
        "most_iterations": {"crocoddyl": theirs["most_iterations"], "forethought": mine["most_iterations"]},
        "converged": {"crocoddyl": theirs["converged"], "forethought": mine["converged"]},
        "same_cost": same,
        "compile_s": mine["compile_s"],
    }


def show(report: dict) -> None:
    """The tables."""
    print(describe(report["hardware"]))
    for name, part in (("one unicycle", report), ("one arm", report["arm"])):
        rows = [
            [side, part[side]["iterations"], f"{part[side]['cost']:.6f}", *part[side]["iteration_ms"].values(),
             part[side]["iteration_cpu_ms"]["median"]]
            for side in ("crocoddyl", "forethought")
        ]  # fmt: skip
        print(table([name, "iterations", "cost", "median [ms per iteration]", "min", "max", "processor"], rows))
        slower = part["times_slower_per_iteration"]
        print(
            f"forethought is {slower['median']:.2f} times slower per iteration (best against best {slower['min']:.2f}),"
        )
        print(f"in processor time {slower['processor']:.2f}; costs differ by {part['cost_differs_by']:.0e} of them;")
        print(f"it compiles in {part['forethought']['compile_s']['median']:.1f} s")
    simulated = report["arm"]["mujoco"]["iteration_ms"]
    print(f"With MuJoCo's own steps and differences the arm takes {simulated:.1f} ms per iteration")
    header = [
        "problems",
        "crocoddyl [1/s]",
        "forethought [1/s]",
        "times faster",
        "best/best",
        "same cost",
        "compile [s]",
    ]
    rows = [
        [size, batch["crocoddyl_per_s"]["median"], batch["forethought_per_s"]["median"], batch["times_faster"],
         batch["times_faster_best"], batch["same_cost"], batch["compile_s"]]
        for size, batch in report["batches"].items()
    ]  # fmt: skip
    print(table(header, rows))


def measure(repeats: int, lanes: int, batches: list[int]) -> dict:
    """Our side, in this process."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp
    import numpy as np

    from forethought.core import Box, Delta, Problem, Result
    from forethought.planning.batch import solve_batch
    from forethought.planning.ilqr import ILQR

    jax.config.update("jax_enable_x64", True)

    class Unicycle(eqx.Module):
        def __call__(self, x, u, t):
            del t
            return Delta(x + 0.1 * jnp.stack([u[0] * jnp.cos(x[2]), u[0] * jnp.sin(x[2]), u[1]]))

    class ToTheOrigin(eqx.Module):
        horizon: int = STEPS

        @property
        def action_space(self):
            return Box.symmetric(jnp.full(2, jnp.inf))

        def cost(self, x, u, t):
            del t
            return 0.5 * (100 * x @ x + u @ u)

        def final_cost(self, x):
            return 50 * x @ x

        def terminal(self, x):
            del x
            return jnp.zeros((), bool)

    problem, settings = Problem(Unicycle(), ToTheOrigin()), ILQR(starts=1)
    report = timed(problem, jnp.array([-1.0, -1.0, 1.0]), repeats) | {"batches": {}, "jax": jax.__version__}
    report["arm"] = measure_arm(repeats)
    for size in batches:
        x0s = jnp.asarray(np.random.default_rng(size).uniform(-1.5, 1.5, (size, 3)))
        first_s = seconds(lambda: solve_batch(settings, problem, x0s, lanes=lanes))
        rounds = [seconds(lambda: solve_batch(settings, problem, x0s, lanes=lanes)) for _ in range(5)]
        plans, steps = solve_batch(settings, problem, x0s, lanes=lanes)
        report["batches"][size] = {
            "problems_per_s": [size / time for time in rounds],
            "iterations": int(steps.sum()),
            "most_iterations": int(steps.max()),
            "costs": np.asarray(plans.cost).tolist(),
            "converged": int(np.sum(np.asarray(plans.result) == Result.converged)),
            "compile_s": first_s - min(rounds),
        }
    return report


def measure_arm(repeats: int) -> dict:
    """The reach, with our rigid bodies and with MuJoCo itself."""
    import equinox as eqx
    import jax.numpy as jnp

    from forethought.core import Box, Problem
    from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics
    from forethought.dynamics.mujoco.simulator import Simulator, load_model
    from forethought.dynamics.rigid_body import RigidBody
    from forethought.planning.rollout import follow, stage_costs

    goal, weights, model = jnp.array(arm_reach.GOAL), jnp.array(arm_reach.WEIGHTS), load_model(arm_reach.MODEL)

    class Reach(eqx.Module):
        horizon: int = STEPS

        @property
        def action_space(self):
            return Box.symmetric(jnp.full(6, jnp.inf))

        def cost(self, x, u, t):
            del t
            return arm_reach.DT * 0.5 * (weights @ (x - goal) ** 2 + arm_reach.EFFORT * u @ u)

        def final_cost(self, x):
            return arm_reach.FINAL * 0.5 * weights @ (x - goal) ** 2

        def terminal(self, x):
            del x
            return jnp.zeros((), bool)

    problem, x0 = Problem(RigidBody.from_mujoco(model), Reach()), jnp.zeros(12)
    pushed = follow(problem, x0, lambda x, t: jnp.full(6, arm_reach.PUSH), STEPS)  # noqa: ARG005
    report = timed(problem, x0, repeats) | {"cost_when_pushed": float(jnp.sum(stage_costs(problem, *pushed)))}
    simulated = timed(Problem(MujocoDynamics(Simulator(model)), Reach()), x0, 3)
    return report | {"mujoco": simulated | {"iteration_ms": min(simulated["iteration_ms"])}}


def timed(problem, x0, repeats: int) -> dict:
    """One problem from zero actions, repeatedly; the first time, with compilation, is reported separately."""
    import jax
    import jax.numpy as jnp

    from forethought.planning.ilqr import ILQR, solve, start

    settings, m = ILQR(starts=1), problem.task.action_space.size
    us = jnp.zeros((STEPS, m))
    one = jax.jit(lambda x0: solve(settings, problem, start(settings, problem, x0, us), settings.iterations))
    first_s = seconds(lambda: jax.block_until_ready(one(x0)))
    end = one(x0)
    wall, cpu = [], []
    for _ in range(repeats):
        before = time.process_time()
        wall.append(seconds(lambda: jax.block_until_ready(one(x0))))
        cpu.append(time.process_time() - before)
    report = {"iterations": int(end.steps), "cost": float(end.cost), "compile_s": first_s - min(wall)}
    return report | {
        "iteration_ms": [1e3 * t / int(end.steps) for t in wall],
        "iteration_cpu_ms": [1e3 * t / int(end.steps) for t in cpu],
    }


if __name__ == "__main__":
    main()
