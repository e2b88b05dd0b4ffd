"""All planners on two tasks whose model is known: tables and picture of docs/planners.md.

    python benchmarks/planners.py                          # both swing-ups, ten seeds
    python benchmarks/planners.py --only icem mppi --seeds 0 1

Each planner runs with its default settings, and with those of SUITED where they are better for the task, on one
processor core.  Settings were chosen on TUNING_SEEDS; REPORTING_SEEDS are other initial states
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
SUITED: dict[tuple[str, str], dict] = {  # settings that suit a task better than the defaults do
    ("cart-pole", "cem"): {"horizon": 12},
    ("pendulum", "cem"): {"horizon": 30},
    ("pendulum", "gradient-shooting"): {"horizon": 20},
    ("pendulum", "mppi"): {"horizon": 15},
}
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
    known = {_place(each): each for each in saved}
    for task, name, settings in [] if flags.draw else variants(flags.tasks, flags.only):
        for seed in flags.seeds:
            one = episode(task, name, settings, seed)
            known[_place(one)] = one
            print(f"{task}, {title(one)}, seed {seed}: cost {one['cost']:.4g}, success {one['success']}", flush=True)
            ordered = [known[place] for place in sorted(known)]
            path.write_text(json.dumps({"envs": ENVS, "episodes": ordered}, indent=1) + "\n")
    known = [known[place] for place in sorted(known)]
    for task in ENVS:
        if episodes := [each for each in known if each["task"] == task]:
            write_table(task, episodes)
    if episodes := [each for each in known if each["task"] == "cart-pole"]:
        draw(episodes)


def variants(tasks: list[str], planners: list[str]) -> list[tuple[str, str, dict]]:
    """Task, planner and settings: the defaults, and what suits the task better."""
    defaults = [(task, name, {}) for task in tasks for name in planners]
    suited = [(*key, settings) for key, settings in SUITED.items() if key[0] in tasks and key[1] in planners]
    return defaults + suited


def title(one: dict) -> str:
    """The planner and the settings that are not defaults, as on the command line."""
    flags = [f"--planner.{name} {value}" for name, value in one["settings"].items()]
    return " ".join([one["planner"], *flags])


def episode(task: str, name: str, settings: dict, seed: int) -> dict:
    """The numbers of one episode, and the trajectory for the picture."""
    from forethought.envs.mujoco.known_model import known_system
    from forethought.runs.plan_episode import plan_on

    env, problem = known_system(ENVS[task])
    planner = read_settings(PLANNERS[name]).construct(settings)
    done = plan_on(env, problem, planner, name=name, seed=seed)
    drawn = {"angle": [round(float(angle), 4) for angle in done.episode.x[:, 2]]} if task == "cart-pole" else {}
    return done.as_json() | {
        "task": task,
        "settings": settings,
        "seed": seed,
        "cpu": hardware()["cpu"],
        "dt": float(env.task.dt),
        **drawn,
    }


def write_table(task: str, episodes: list[dict]) -> None:
    """Put the table of one task between its two marks in the page."""
    rows = [
        "| planner | plans | cost | solved | planning time per step, p50 / p95 / p99 | compilation |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(title(each) for each in episodes):
        ours = [each for each in episodes if title(each) == name]
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

    episodes = [each for each in episodes if not each["settings"]]
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


def _place(one: dict) -> tuple:
    """Where an episode is in the tables, and what tells it from others."""
    task, planner = list(ENVS).index(one["task"]), list(PLANNERS).index(one["planner"])
    return task, planner, title(one), one["seed"]


if __name__ == "__main__":
    main()
