"""iLQR: ours against crocoddyl 3.2.1 (C++), same problem, same start, same accuracy, in turns.

    python benchmarks/peers/setup_crocoddyl.py     # once
    python benchmarks/speed_trajopt.py

The problem is crocoddyl's unicycle: x = [px, py, heading], u = [speed, turn rate], one Euler step of 0.1 s, cost
0.5 (100 |x|^2 + |u|^2), 100 steps, no limits, from zero actions.  Both sides work in float64 and use the Gauss-Newton
form (no curvature of the dynamics).  crocoddyl stops where the sum of squared gradients is below 1e-9, ours where the
largest gradient is below `tolerance` times the cost; the costs that both reach are compared.
An iteration's time is that of a whole solve divided by its iterations.  Batches: crocoddyl solves one problem after the
other on one thread; ours are `solve_batch`, with lanes.  Compilation is told apart.
"""

import json
from pathlib import Path

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
    both = {side: [turn[side] for turn in turns] for side in ("crocoddyl", "forethought")}
    report = {"hardware": machine, "steps": STEPS, "threads": flags.threads, "lanes": flags.lanes, "batches": {}}
    for side, results in both.items():
        report[side] = {
            "iteration_ms": summary([time for result in results for time in result["iteration_ms"]]),
            "iterations": results[0]["iterations"],
            "cost": results[0]["cost"],
        }
    report["forethought"]["compile_s"] = summary([result["compile_s"] for result in both["forethought"]])
    report["times_slower_per_iteration"] = {
        key: report["forethought"]["iteration_ms"][key] / report["crocoddyl"]["iteration_ms"][key]
        for key in ("median", "min")
    }
    for size in map(str, batches):
        report["batches"][size] = _batch([{side: turn[side]["batches"][size] for side in turn} for turn in turns])
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
    rows = [
        [side, report[side]["iterations"], report[side]["cost"], *report[side]["iteration_ms"].values()]
        for side in ("crocoddyl", "forethought")
    ]
    print(table(["one unicycle", "iterations", "cost", "median [ms per iteration]", "min", "max"], rows))
    slower = report["times_slower_per_iteration"]
    print(f"forethought is {slower['median']:.2f} times slower per iteration (best against best {slower['min']:.2f});")
    print(f"it compiles in {report['forethought']['compile_s']['median']:.1f} s")
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

    from forethought.core import Delta, Problem, Result
    from forethought.planning.batch import solve_batch
    from forethought.planning.ilqr import ILQR, solve, start

    jax.config.update("jax_enable_x64", True)

    class Unicycle(eqx.Module):
        def __call__(self, x, u, t):
            del t
            return Delta(x + 0.1 * jnp.stack([u[0] * jnp.cos(x[2]), u[0] * jnp.sin(x[2]), u[1]]))

    class ToTheOrigin(eqx.Module):
        horizon: int = STEPS

        @property
        def u_min(self):
            return jnp.full(2, -jnp.inf)

        @property
        def u_max(self):
            return jnp.full(2, jnp.inf)

        def cost(self, x, u, t):
            del t
            return 0.5 * (100 * x @ x + u @ u)

        def final_cost(self, x):
            return 50 * x @ x

    problem, settings = Problem(Unicycle(), ToTheOrigin()), ILQR(starts=1)
    us = jnp.zeros((STEPS, 2))
    one = jax.jit(lambda x0: solve(settings, problem, start(settings, problem, x0, us), settings.iterations))
    x0 = jnp.array([-1.0, -1.0, 1.0])
    compile_s = seconds(lambda: jax.block_until_ready(one(x0)))
    times = [seconds(lambda: jax.block_until_ready(one(x0))) for _ in range(repeats + 1)][1:]
    end = one(x0)
    report = {"iterations": int(end.steps), "cost": float(end.cost), "compile_s": compile_s}
    report |= {"iteration_ms": [1e3 * time / int(end.steps) for time in times], "batches": {}, "jax": jax.__version__}
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


if __name__ == "__main__":
    main()
