"""All planners with their default settings on two tasks whose model is known: tables and picture of docs/planners.md.

    python benchmarks/planners.py                          # both swing-ups, ten seeds
    python benchmarks/planners.py --only icem mppi --seeds 0 1

Each planner runs on one processor core.  Defaults were chosen on TUNING_SEEDS; REPORTING_SEEDS are other initial states
and other samples.  Results go to benchmarks/results/planners.json (those of other planners, tasks and seeds stay), the
tables and the picture to docs/.
"""

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from common import RESULTS, ROOT, cores, hardware

sys.path.insert(0, str(ROOT))

from forethought.cli.settings_reader import read_settings  # noqa: E402
from forethought.registry import PLANNERS  # noqa: E402

ENVS = {"cart-pole": "forethought/CartPoleSwingUp-v0", "pendulum": "forethought/PendulumSwingUp-v0"}
TUNING_SEEDS = list(range(100, 120))
REPORTING_SEEDS = list(range(10))
PAGE = ROOT / "docs" / "planners.md"
IMAGES = ROOT / "docs" / "img"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=REPORTING_SEEDS)
    parser.add_argument("--tasks", nargs="+", choices=list(ENVS), default=list(ENVS), metavar="TASK")
    parser.add_argument("--only", nargs="+", choices=list(PLANNERS), default=list(PLANNERS), metavar="PLANNER")
    parser.add_argument("--draw", action="store_true", help="run nothing: write tables and picture from saved results")
    flags = parser.parse_args()
    os.sched_setaffinity(0, {cores()[0]})
    path = RESULTS / "planners.json"
    saved = json.loads(path.read_text())["episodes"] if path.exists() else []
    known = [each for each in saved if "task" in each]
    for task in [] if flags.draw else flags.tasks:
        for name in flags.only:
            for seed in flags.seeds:
                one = episode(task, name, seed)
                here = (task, name, seed)
                known = [old for old in known if (old["task"], old["planner"], old["seed"]) != here] + [one]
                print(f"{task}, {name}, seed {seed}: cost {one['cost']:.4g}, success {one['success']}", flush=True)
                known.sort(key=lambda each: (list(ENVS).index(each["task"]), _place(each), each["seed"]))
                path.write_text(json.dumps({"envs": ENVS, "hardware": hardware(), "episodes": known}, indent=1) + "\n")
    for task in ENVS:
        if episodes := [each for each in known if each["task"] == task]:
            write_table(task, episodes)
    if episodes := [each for each in known if each["task"] == "cart-pole"]:
        draw(episodes)


def episode(task: str, name: str, seed: int) -> dict:
    """The numbers of one episode, and the trajectory for the picture."""
    from forethought.envs.mujoco.known_model import known_system
    from forethought.runs.plan_episode import plan_on

    env, problem = known_system(ENVS[task])
    planner = read_settings(PLANNERS[name]).construct({})
    done = plan_on(env, problem, planner, name=name, seed=seed)
    drawn = {"angle": [round(float(angle), 4) for angle in done.episode.x[:, 2]]} if task == "cart-pole" else {}
    return done.as_json() | {"task": task, "seed": seed, "dt": float(env.task.dt), **drawn}


def write_table(task: str, episodes: list[dict]) -> None:
    """Put the table of one task between its two marks in the page."""
    rows = [
        "| planner | plans | cost | solved | planning time per step, p50 / p95 / p99 | compilation |",
        "|---|---|---|---|---|---|",
    ]
    for name in PLANNERS:
        ours = [each for each in episodes if each["planner"] == name]
        if not ours:
            continue
        costs = [each["cost"] for each in ours]
        spread = f" ± {statistics.stdev(costs):.1f}" if len(costs) > 1 else ""
        middle = {k: statistics.median(each["latency_s"][k] for each in ours) for k in ("p50", "p95", "p99")}
        rows.append(
            f"| `{name}` | {'every step' if ours[0]['receding'] else 'once'} | {statistics.mean(costs):.1f}{spread} "
            f"| {sum(bool(each['success']) for each in ours)} of {len(ours)} "
            f"| {' / '.join(f'{1000 * value:.0f}' for value in middle.values())} ms "
            f"| {statistics.median(each['compile_s'] for each in ours):.1f} s |"
        )
    page, mark = PAGE.read_text(), f"<!-- table: {task} -->\n"
    start = page.index(mark) + len(mark)
    PAGE.write_text(page[:start] + "\n".join(rows) + "\n" + page[page.index("<!-- end of table -->", start) :])


def draw(episodes: list[dict]) -> None:
    """The pole's angle over time, a panel for each planner, a line for each seed."""
    from matplotlib.figure import Figure

    names = [name for name in PLANNERS if any(each["planner"] == name for each in episodes)]
    columns = 3
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        for each in (each for each in episodes if each["planner"] == name):
            seconds = [each["dt"] * t for t in range(len(each["angle"]))]
            axes.plot(seconds, each["angle"], color="#0072b2" if each["success"] else "#d55e00", linewidth=1, alpha=0.8)
        axes.set_title(name, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.supxlabel("time (s)", fontsize="small")
    figure.supylabel("pole angle (rad)", fontsize="small")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(IMAGES) / "planners.svg", metadata={"Date": None})


def _place(episode: dict) -> int:
    return list(PLANNERS).index(episode["planner"])


if __name__ == "__main__":
    main()
