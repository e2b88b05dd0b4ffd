"""A planner as a policy network: return and latency of MPC and of its student, trained by DAgger.

    python benchmarks/distill_policy.py                                  # cart-pole and reacher; continues
    python benchmarks/distill_policy.py --tasks cheetah --seeds 40 41 42
    python benchmarks/distill_policy.py --draw                           # run nothing: tables from saved results
    python benchmarks/distill_policy.py --quick                          # tiny sizes, nothing saved

The teacher is MPC with the known model (`forethought train known-mpc`), on the cheetah a PETS run of
benchmarks/learning.py.  "full state" sees what the teacher sees; "positions" sees the positions only, of the last three
steps.  "kept" is the share of the teacher's gain over random actions.  Latency: processor time of one action on one
core, compiled, from an array of the observation to an array of the action; other processes do not count.
Results of each seed go to benchmarks/results/distill_policy.json as they come, the tables to docs/distillation.md.
Settings are the defaults; on the cheetah those of SETTINGS.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT
from page import DOCS, interval_text, put_table, unique
from rows import REPORTING_SEEDS, Rows, fill, reporting
from teachers import pets_run

sys.path.insert(0, str(ROOT))

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax.random as jr  # noqa: E402
import numpy as np  # noqa: E402

from forethought.algorithms.distill import DistillPolicy  # noqa: E402
from forethought.algorithms.known_mpc import KnownMPC  # noqa: E402
from forethought.envs.env import collect  # noqa: E402
from forethought.learners.behavior_cloning import BehaviorCloning  # noqa: E402
from forethought.planning.icem import ICEM  # noqa: E402
from forethought.policies.uniform import Uniform  # noqa: E402
from forethought.runs.distill import distill  # noqa: E402
from forethought.runs.driver import train  # noqa: E402
from forethought.runs.run import Run, load  # noqa: E402

NAME = "distill_policy"
TASKS = {  # task: environment of a known model, none: the teacher has learned its model; its positions
    "cart-pole": ("forethought/CartPoleSwingUp-v0", ("cart position", "pole angle")),
    "reacher": ("forethought/ReacherTwoLink-v0", ("shoulder angle", "elbow angle")),
    "cheetah": (None, ()),
}
SETTINGS: dict[str, dict[str, Any]] = {  # on student seed 100 of the teacher of seed 40
    "cheetah": {"guided": True, "first_steps": 12_000, "cloning": BehaviorCloning(updates=10_000, spread=0.1)}
}
VIEWS = ("full state", "positions")
PLANNER = ICEM(particles=1)
QUICK = ICEM(horizon=3, population=8, elites=3, iterations=1, particles=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = ["cart-pole", "reacher"]
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=tasks, metavar="TASK")
    parser.add_argument(
        "--views", nargs="+", choices=list(VIEWS), default=list(VIEWS), metavar="VIEW", help=", ".join(VIEWS)
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "distill", help="where the runs are kept")
    parser.add_argument("--episodes", type=int, default=10, help="of each evaluation")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: tables from saved results")
    flags = parser.parse_args()
    if not flags.draw:
        fill("policy", NAME, rows(flags), quick=flags.quick)
    found = reporting(NAME) if (RESULTS / f"{NAME}.json").exists() else []
    if found and not flags.quick:
        put_table(DOCS / "distillation.md", "policy", table(found))


def rows(flags: argparse.Namespace) -> Rows:
    """One row for each task, view and seed."""
    for view in flags.views:
        for task in (task for task in flags.tasks if view == "full state" or TASKS[task][1]):
            for seed in flags.seeds[:1] if flags.quick else flags.seeds:
                about = {"task": task, "sees": view, "seed": seed}
                yield about, lambda t=task, v=view, s=seed: measured(t, v, s, flags)


def measured(task: str, view: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Returns and latencies of teacher and student."""
    teacher = teacher_of(task, seed, flags)
    settings = DistillPolicy(
        observed=TASKS[task][1] if view == "positions" else (),
        history=1 + 2 * (view != "full state"),
        **SETTINGS.get(task, {}),
    )
    how: dict[str, Any] = {"out": flags.runs / f"{task}-{view}-seed{seed}".replace(" ", "-"), "seed": seed}
    if flags.quick:
        cloning = BehaviorCloning(updates=20)
        settings = dataclasses.replace(settings, cloning=cloning, round_steps=1)
        how |= {"out": flags.runs / f"quick-{task}-{view[:4]}", "iterations": 2}
    started = time.perf_counter()
    student = distill(teacher.path, algorithm=settings, resume=True, progress=False, **how)
    wall_s = time.perf_counter() - started
    env, count = teacher.env, 1 if flags.quick else flags.episodes
    at_random = [collect(env, Uniform(env.task.action_space), key=jr.key(i)) for i in range(count)]
    told: dict[str, Any] = {"random": float(np.mean([np.sum(one.reward) for one in at_random])), "distill_s": wall_s}
    for name, run in (("teacher", teacher), ("student", student)):
        found = run.evaluate(episodes=count, seed=seed)
        steps = 20 if flags.quick else 200 if name == "teacher" else 5000
        told[name] = {"return": found.mean, "success": found.success} | latency(run.controller, found, steps)
    return told


def teacher_of(task: str, seed: int, flags: argparse.Namespace) -> Run:
    """The teacher's run."""
    name = TASKS[task][0]
    if name is None:
        return load(pets_run(task, seed))
    planner, out = (QUICK, f"quick-{task}") if flags.quick else (PLANNER, f"{task}-known-mpc-seed{seed}")
    how: dict[str, Any] = {"seed": seed, "iterations": 1, "resume": True, "progress": False}
    return train(KnownMPC(planner=planner), name, out=flags.runs / out, **how)


def latency(controller: Any, found: Any, steps: int) -> dict[str, float]:
    """Percentiles of the processor time for one action, ms, along the first evaluation episodes."""
    arrays, static = eqx.partition(controller, eqx.is_array)
    xs = np.concatenate([np.asarray(episode.x) for episode in found.trajectories])
    memory = controller.init(jnp.asarray(xs[0]), key=jr.key(0))
    key = jr.key(1)

    def act(x: Any, t: Any, memory: Any) -> Any:
        return eqx.combine(arrays, static).act(x, t, memory, key=key)

    program = jax.jit(act).lower(xs[0], np.int32(0), memory).compile()
    spent = []
    for i in range(steps):
        start = time.process_time()
        u, memory = program(xs[i % len(xs)], np.int32(i % len(found.trajectories[0])), memory)
        np.asarray(u)
        spent.append(1000 * (time.process_time() - start))
    p50, p99 = np.percentile(spent, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def kept(row: dict[str, Any]) -> float:
    """Share of the teacher's gain over random actions."""
    return (row["student"]["return"] - row["random"]) / (row["teacher"]["return"] - row["random"])


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    """Means over seeds and their intervals; latencies are medians over seeds."""
    head = [
        "task",
        "student sees",
        "random",
        "return of MPC",
        "of the student",
        "kept",
        "MPC p50 / p99",
        "student p50 / p99",
    ]
    lines = [head]
    for task, view in unique((row["task"], row["sees"]) for row in found):
        mine = [row for row in found if (row["task"], row["sees"]) == (task, view)]
        returns = [interval_text([row[name]["return"] for row in mine]) for name in ("teacher", "student")]
        times = [
            " / ".join(f"{np.median([row[name][p] for row in mine]):.2g} ms" for p in ("p50_ms", "p99_ms"))
            for name in ("teacher", "student")
        ]
        chance = f"{np.mean([row['random'] for row in mine]):.3g}"
        lines.append([task, view, chance, *returns, f"{np.mean([kept(row) for row in mine]):.0%}", *times])
    return lines


if __name__ == "__main__":
    main()
