"""One network for an ensemble: likelihood, calibration, return of PETS, and planning time.

    python benchmarks/distill_dynamics.py                                   # cart-pole; continues where it stopped
    python benchmarks/distill_dynamics.py --tasks cheetah --seeds 40 41 42
    python benchmarks/distill_dynamics.py --draw                            # run nothing: tables and figure
    python benchmarks/distill_dynamics.py --quick                           # tiny sizes, nothing saved

The teachers are the PETS runs of benchmarks/ladder.py (cart-pole) and benchmarks/learning.py (cheetah), trained now if
they are not there.  Three models plan with the same planner: the ensemble of K networks with K particles per candidate,
and, with one particle, its student (`forethought distill RUN`) and a single network of the student's size that is
trained on the same data.  Held-out data are new episodes, half of random actions and half of the teacher.
Calibration error: mean distance of the coverage of central intervals from their level, over 19 levels and coordinates.
Returns are negative costs on the cart-pole; "kept" is the share of the teacher's gain over random actions.  Planning
times are processor times on one core, so that other processes do not count.
Results of each seed go to benchmarks/results/distill_dynamics.json as they come, the figure to
docs/img/distill_dynamics.svg and the tables to docs/distillation.md.  Settings are the defaults.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT
from page import DOCS, interval_text, put_table, save_figure, unique
from rows import REPORTING_SEEDS, Rows, fill, reporting
from teachers import PETS, pets_run

sys.path.insert(0, str(ROOT))

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax.random as jr  # noqa: E402
import numpy as np  # noqa: E402
from jax.scipy.stats import norm  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from forethought.algorithms.distill import DistillDynamics  # noqa: E402
from forethought.algorithms.experience import Experience  # noqa: E402
from forethought.envs.env import collect  # noqa: E402
from forethought.envs.episode import join_pieces  # noqa: E402
from forethought.models.distilled import DistilledModel  # noqa: E402
from forethought.policies.uniform import Uniform  # noqa: E402
from forethought.runs.distill import distill  # noqa: E402
from forethought.runs.run import Run, load  # noqa: E402

NAME = "distill_dynamics"
LEVELS = np.linspace(0.05, 0.95, 19)  # of central intervals
MODELS = ("ensemble", "student", "single")
HELD_OUT = 4  # episodes, half of them of random actions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(PETS), default=["cart-pole"], metavar="TASK")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "distill", help="where the students' runs are kept"
    )
    parser.add_argument("--episodes", type=int, default=4, help="of each evaluation")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: tables and figure from saved results")
    flags = parser.parse_args()
    if not flags.draw:
        fill("dynamics", NAME, rows(flags), quick=flags.quick)
    found = reporting(NAME) if (RESULTS / f"{NAME}.json").exists() else []
    if found and not flags.quick:
        for task in unique(row["task"] for row in found):
            put_table(DOCS / "distillation.md", f"dynamics {task}", table(found, task))
        save_figure(NAME, lambda figure: draw(figure, found), width=10, height=3)


def rows(flags: argparse.Namespace) -> Rows:
    """One row for each task and seed."""
    for task in flags.tasks:
        for seed in flags.seeds[:1] if flags.quick else flags.seeds:
            yield {"task": task, "seed": seed}, lambda t=task, s=seed: measured(t, s, flags)


def measured(task: str, seed: int, flags: argparse.Namespace) -> dict[str, Any]:
    """Predictions, returns and planning times of the three models."""
    teacher = load(pets_run(task, seed))
    student = distilled(teacher, task, seed, flags)
    runs = {"ensemble": (teacher.algorithm, teacher.state), "student": (student.algorithm, student.state)}
    runs["single"] = single(teacher, quick=flags.quick)
    env, key = teacher.env, jr.key(seed + 10_000)
    held_out = join_pieces(episodes(teacher, key, 2 if flags.quick else HELD_OUT))
    told: dict[str, Any] = {}
    for name, (algorithm, state) in runs.items():
        controller, problem = algorithm.controller(state, env), algorithm.problem(state, env)
        keys = [jr.fold_in(key, i) for i in range(1 if flags.quick else flags.episodes)]
        returns = [float(np.sum(env.run(controller, key=k).reward)) for k in keys]
        told[name] = predictions(problem.dynamics, teacher, held_out) | {
            "return": float(np.mean(returns)),
            "plan_ms": planning_ms(algorithm.planner, problem, held_out.x, 3 if flags.quick else 30),
        }
    at_random = [float(np.sum(collect(env, Uniform(env.task.action_space), key=jr.key(i)).reward)) for i in range(10)]
    members = teacher.state.learned.dynamics.model.member_count
    return {"members": members, "random": float(np.mean(at_random)), **told}


def distilled(teacher: Run, task: str, seed: int, flags: argparse.Namespace) -> Run:
    """The student's run: `forethought distill RUN --out STUDENT`."""
    if flags.quick:
        settings = DistillDynamics(student=DistilledModel(updates=20), imagined=100)
        return distill(teacher.path, algorithm=settings, out=flags.runs / "quick", iterations=1, resume=True)
    out = flags.runs / f"{task}-dynamics-seed{seed}"
    return distill(teacher.path, to="dynamics", out=out, seed=seed, resume=True, progress=False)


def single(teacher: Run, *, quick: bool) -> tuple[Any, Experience]:
    """Settings and state with one network of the student's size, fitted to the teacher's data; one particle."""
    old, more = teacher.algorithm, {"max_epochs": 2} if quick else {}
    model = dataclasses.replace(old.model, members=1, **more)
    algorithm = dataclasses.replace(old, model=model, planner=dataclasses.replace(old.planner, particles=1))
    learning = algorithm.mpc.learning if hasattr(algorithm, "mpc") else algorithm.learning
    fresh = learning.init(teacher.env, key=jr.key(0))
    learned, _ = learning.fit(teacher.state.buffer, fresh, key=jr.key(teacher.info["seed"]))
    return algorithm, Experience(teacher.state.buffer, learned, teacher.state.episodes)


def episodes(teacher: Run, key: Any, count: int) -> list[Any]:
    """New episodes, half of random actions and half of the teacher."""
    actors = [Uniform(teacher.env.task.action_space), teacher.controller]
    return [collect(teacher.env, actors[i % 2], key=jr.fold_in(key, 1000 + i)) for i in range(count)]


def predictions(dynamics: Any, teacher: Run, steps: Any) -> dict[str, Any]:
    """Log-likelihood in nats per coordinate, outputs in units of their std in training; calibration; root mean square.

    Coordinates that never vary are left out.
    """
    z, y = dynamics.data(jax.tree.map(jnp.asarray, steps))
    mean, std = predicted(dynamics.model, z)
    scale = np.std(np.asarray(dynamics.data(teacher.state.buffer.rows())[1]), axis=0)
    moves = scale > 1e-6
    error, std, scale = (np.asarray(y) - np.asarray(mean))[:, moves], np.asarray(std)[:, moves], scale[moves]
    nats = norm.logpdf(error / std) - np.log(std / scale)
    inside = np.abs(2 * np.asarray(norm.cdf(error / std)) - 1)[None] <= LEVELS[:, None, None]
    coverage = inside.mean(axis=1)
    return {
        "log_likelihood": float(np.mean(nats)),
        "calibration_error": float(np.mean(np.abs(coverage - LEVELS[:, None]))),
        "rmse": float(np.sqrt(np.mean((error / scale) ** 2))),
        "coverage": np.round(coverage.mean(axis=1), 4).tolist(),
    }


@eqx.filter_jit
def predicted(model: Any, z: Any) -> tuple[Any, Any]:
    """Mean and standard deviation at all inputs."""
    ys = jax.vmap(model)(z)
    return ys.mean, ys.std


def planning_ms(planner: Any, problem: Any, xs: Any, count: int) -> float:
    """Median processor time of one plan, ms, without compilation; other processes do not count."""
    plan = eqx.filter_jit(lambda problem, x, state, key: planner.plan(problem, x, state, key=key))
    state, spent = planner.init(problem), []
    for i in range(count + 1):
        start = time.process_time()
        _, state = jax.block_until_ready(plan(problem, jnp.asarray(padded(xs[i], problem)), state, jr.key(i)))
        spent.append(1000 * (time.process_time() - start))
    return float(np.median(spent[1:]))


def padded(x: Any, problem: Any) -> Any:
    """An observation as a state of the problem, which has the reward too where it is learned."""
    return np.pad(np.asarray(x, np.float32), (0, int(getattr(problem.dynamics, "n_extra", 0))))


def kept(row: dict[str, Any], name: str) -> float:
    """Share of the teacher's gain over random actions."""
    return (row[name]["return"] - row["random"]) / (row["ensemble"]["return"] - row["random"])


def table(found: list[dict[str, Any]], task: str) -> list[list[str]]:
    """Means over seeds and their intervals."""
    mine = [row for row in found if row["task"] == task]
    lines = [["model", "log-likelihood, nats", "calibration error", "return", "return kept", "planning time"]]
    for name in MODELS:
        told = [interval_text([row[name][score] for row in mine]) for score in ("log_likelihood", "calibration_error")]
        shares = interval_text([row[name]["plan_ms"] / row["ensemble"]["plan_ms"] for row in mine])
        kept_text = f"{np.mean([kept(row, name) for row in mine]):.0%}"
        words = {"ensemble": f"ensemble of {mine[0]['members']}", "single": "single network"}.get(name, name)
        lines.append([words, *told, interval_text([row[name]["return"] for row in mine]), kept_text, shares])
    return lines


def draw(figure: Figure, found: list[dict[str, Any]]) -> None:
    """Coverage of central intervals, returns, and planning times."""
    tasks = unique(row["task"] for row in found)
    axes = figure.subplots(1, 1 + 2 * len(tasks))
    colors = dict(zip(MODELS, ("0.3", "C0", "C1"), strict=True))
    for name in MODELS:
        ys = np.mean([row[name]["coverage"] for row in found if row["task"] == tasks[0]], axis=0)
        axes[0].plot(LEVELS, ys, color=colors[name], label=name)
    axes[0].plot([0, 1], [0, 1], ":", color="0.6")
    axes[0].set(xlabel="level of the interval", ylabel="coverage", title=f"{tasks[0]}: calibration")
    axes[0].legend(fontsize=8)
    for i, task in enumerate(tasks):
        for axis, (key, words) in zip(
            axes[1 + 2 * i :], (("return", "return"), ("plan_ms", "time per plan (ms)")), strict=False
        ):
            for j, name in enumerate(MODELS):
                ys = [row[name][key] for row in found if row["task"] == task]
                axis.bar(j, np.mean(ys), color=colors[name], alpha=0.5)
                axis.plot([j] * len(ys), ys, ".", color="black")
            axis.set(xticks=range(len(MODELS)), xticklabels=MODELS, title=f"{task}: {words}")


if __name__ == "__main__":
    main()
