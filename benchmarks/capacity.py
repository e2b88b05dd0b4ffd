"""Model capacity against data: errors and the return of planning, by network size and number of transitions.

    python benchmarks/capacity.py                       # cart-pole, its reporting seeds
    python benchmarks/capacity.py --tasks pendulum --seeds 40
    python benchmarks/capacity.py --quick               # tiny sizes, nothing saved: does everything run?

Transitions are those of random actions and of MPC with the true model, half of each, the same for all models.  "one"
is a single network, "ensemble" five of them, fitted to the same real steps.  Planning is iCEM by the settings below.
Results of each seed go to benchmarks/results/capacity.json as they come, the figure to docs/img/capacity.svg and the
table to docs/ladder.md; a seed that is there already is left out.
"""

import argparse
import json
import statistics
import sys
from typing import Any

from common import RESULTS, ROOT, hardware
from page import DOCS, put_table, save_figure

sys.path.insert(0, str(ROOT))

import jax.random as jr  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from forethought.core import Problem  # noqa: E402
from forethought.envs.open import open_env  # noqa: E402
from forethought.models.ensemble import Ensemble  # noqa: E402
from forethought.planning.icem import ICEM  # noqa: E402
from forethought.planning.mpc import MPC  # noqa: E402
from forethought.policies.uniform import Uniform  # noqa: E402
from forethought.report.capacity import as_rows, capacity  # noqa: E402

TASKS = {"cart-pole": "forethought/CartPoleSwingUp-v0", "pendulum": "forethought/PendulumSwingUp-v0"}
WIDTHS = (8, 32, 128, 256)
COUNTS = (50, 100, 200, 400, 800)
REPORTING_SEEDS = tuple(range(40, 45))
PLANNER = ICEM(population=150, iterations=3)  # fewer samples than by default
HORIZON = 20  # of the multi-step error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="TASK")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: draw from saved results")
    flags = parser.parse_args()
    path = RESULTS / "capacity.json"
    known = json.loads(path.read_text())["points"] if path.exists() else []
    for task in flags.tasks:
        for seed in flags.seeds if not flags.draw else []:
            if not flags.quick and any((one["task"], one["seed"]) == (task, seed) for one in known):
                continue
            known += points(task, seed, quick=flags.quick)
            if not flags.quick:
                RESULTS.mkdir(exist_ok=True)
                path.write_text(json.dumps({"hardware": hardware(), "points": known}, indent=1) + "\n")
            for one in known[-len(models(flags.quick)) :]:
                print(one, flush=True)
    if known and not flags.quick:
        tasks = sorted({row["task"] for row in known})
        save_figure("capacity", lambda figure: draw(figure, known), width=12, height=0.6 + 3 * len(tasks))
        for task in tasks:
            put_table(DOCS / "ladder.md", f"capacity {task}", table(known, task))


def models(quick: bool) -> dict[str, Ensemble]:
    """Single networks and ensembles of each width."""
    widths, short = ((4,), {"max_epochs": 5}) if quick else (WIDTHS, {})
    sizes = {"one": 1, "ensemble": 2 if quick else 5}
    return {
        f"{name} {width}": Ensemble(members=members, hidden=(width, width), **short)
        for name, members in sizes.items()
        for width in widths
    }


def points(task: str, seed: int, *, quick: bool) -> list[dict[str, Any]]:
    """All sizes and counts on one task, with data, models and plans of one seed."""
    env = open_env(TASKS[task])
    counts = (20,) if quick else COUNTS
    planner = ICEM(horizon=3, population=10, elites=2, iterations=1, particles=2) if quick else PLANNER
    data_key, held_out_key, fit_key, act_key = jr.split(jr.key(seed), 4)
    known: Any = env
    controllers = [Uniform(env.task.action_space), MPC(planner, known.problem)]

    def episodes(key: Any, steps: int) -> list:
        done: list = []
        while sum(len(episode) for episode in done) < steps:
            done.append(env.run(controllers[len(done) % 2], key=jr.fold_in(key, len(done))))
        return done

    def planned(learned: Any, key: Any) -> float:
        del key
        episode = env.run(MPC(planner, Problem(learned.dynamics, env.task)), key=act_key)
        return float(np.sum(episode.reward))

    rows = capacity(
        env,
        models(quick),
        episodes(data_key, max(counts)),
        episodes(held_out_key, 20 if quick else 200),
        counts=counts,
        horizon=3 if quick else HORIZON,
        evaluate=planned,
        key=fit_key,
    )
    return [{"task": task, "seed": seed, **row} for row in as_rows(rows)]


def draw(figure: Figure, rows: list[dict[str, Any]]) -> None:
    """For each task a row of panels: errors and return by width, a line for each number of transitions."""
    tasks = sorted({row["task"] for row in rows})
    what = ("training_error", "held_out_error", "multi_step_error", "returned")
    panels = figure.subplots(len(tasks), len(what), squeeze=False)
    for task, line in zip(tasks, panels, strict=True):
        for name, axes in zip(what, line, strict=True):
            for number, count in enumerate(COUNTS):
                for kind, style in (("one", "--"), ("ensemble", "-")):
                    middle = [_median(rows, task, f"{kind} {width}", count, name) for width in WIDTHS]
                    label = f"{count}" if kind == "ensemble" else None
                    axes.plot(WIDTHS, middle, style, color=f"C{number}", marker=".", label=label)
            axes.set(xscale="log", xlabel="units in each layer", title=f"{task}: {name.replace('_', ' ')}")
            if name != "returned":
                axes.set_yscale("log")
    labels = panels[0][0].get_legend_handles_labels()
    title = "transitions; full lines: ensemble, dashed: one network"
    figure.legend(*labels, loc="outside lower center", ncols=len(COUNTS), title=title, fontsize="small", frameon=False)


def table(rows: list[dict[str, Any]], task: str) -> list[list[str]]:
    """Training error, held-out error and return of each model by number of transitions; medians over seeds."""
    lines = [["model", *(f"{count} transitions" for count in COUNTS)]]
    for kind in ("one", "ensemble"):
        for width in WIDTHS:
            model = f"{kind} {width}"
            cells = []
            for count in COUNTS:
                errors = (_median(rows, task, model, count, name) for name in ("training_error", "held_out_error"))
                returned = _median(rows, task, model, count, "returned")
                cells.append(" / ".join(f"{error:.2g}" for error in errors) + f", {returned:.3g}")
            lines.append([model, *cells])
    return lines


def _median(rows: list[dict[str, Any]], task: str, model: str, count: int, name: str) -> float:
    """Over seeds; NaN where there is nothing."""
    found = [
        row[name]
        for row in rows
        if (row["task"], row["model"], row["transitions"]) == (task, model, count) and row[name] is not None
    ]
    return statistics.median(found) if found else float("nan")


if __name__ == "__main__":
    main()
