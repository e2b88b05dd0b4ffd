"""All planners on one task whose model is known: the table and the pictures of docs/planners.md.

    python benchmarks/planners.py                 # cart-pole swing-up, seeds 0-4
    python benchmarks/planners.py --seeds 0 1 --only ilqr mppi

Every planner has its own default settings, but for those under SETTINGS, which were chosen on seeds 100-102.  Results
go to benchmarks/results/planners.json (those of planners and seeds not run stay), the table and the picture to docs/.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

from common import RESULTS, ROOT, hardware

sys.path.insert(0, str(ROOT))

from forethought.cli.settings_reader import read_settings  # noqa: E402
from forethought.registry import PLANNERS  # noqa: E402

ENV = "forethought/CartPoleSwingUp-v0"
PAGE = ROOT / "docs" / "planners.md"
IMAGES = ROOT / "docs" / "img"
SETTINGS: dict[str, dict[str, object]] = {
    "icem": {"horizon": 20, "population": 200, "iterations": 4, "noise": 1.0, "beta": 1.0},
    "mppi": {"iterations": 3, "temperature": 0.05, "beta": 1.0, "control_cost": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--draw", action="store_true", help="run nothing: table and picture from the results there are")
    parser.add_argument("--only", nargs="+", choices=list(PLANNERS), default=list(PLANNERS), metavar="PLANNER")
    flags = parser.parse_args()
    path = RESULTS / "planners.json"
    known = json.loads(path.read_text())["episodes"] if path.exists() else []
    for name in [] if flags.draw else flags.only:
        for seed in flags.seeds:
            one = episode(name, seed)
            known = [old for old in known if (old["planner"], old["seed"]) != (name, seed)] + [one]
            print(f"{name}, seed {seed}: cost {one['cost']:.4g}, success {one['success']}", flush=True)
            known.sort(key=lambda each: (list(PLANNERS).index(each["planner"]), each["seed"]))
            report = {"env": ENV, "hardware": hardware(), "episodes": known}
            path.write_text(json.dumps(report, indent=1) + "\n")
    write_table(known)
    draw(known)


def episode(name: str, seed: int) -> dict:
    """One episode, and what is drawn of it."""
    from forethought.envs.mujoco.known_model import known_system
    from forethought.runs.plan_episode import plan_on

    env, problem = known_system(ENV)
    planner = read_settings(PLANNERS[name]).construct(SETTINGS.get(name, {}))
    done = plan_on(env, problem, planner, name=name, seed=seed)
    drawn = {"angle": done.episode.x[:, 2].tolist(), "force": done.episode.u[:, 0].tolist()}
    return done.as_json() | {"seed": seed, "dt": float(env.task.dt), **drawn}


def write_table(episodes: list[dict]) -> None:
    """Put the table between its two marks in the page."""
    rows = [
        "| planner | plans | cost | solved | planning per episode | p50 / p95 / p99 of a plan | compilation |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in PLANNERS:
        ours = [each for each in episodes if each["planner"] == name]
        if not ours:
            continue
        costs = [each["cost"] for each in ours]
        spread = f" ± {statistics.stdev(costs):.2f}" if len(costs) > 1 else ""
        middle = {k: statistics.median(each["latency_s"][k] for each in ours) for k in ("p50", "p95", "p99")}
        rows.append(
            f"| `{name}` | {'every step' if ours[0]['receding'] else 'once'} | {statistics.mean(costs):.2f}{spread} "
            f"| {sum(bool(each['success']) for each in ours)} of {len(ours)} "
            f"| {statistics.median(each['wall_s'] for each in ours):.2f} s "
            f"| {' / '.join(f'{1000 * value:.0f}' for value in middle.values())} ms "
            f"| {statistics.median(each['compile_s'] for each in ours):.1f} s |"
        )
    marks = "<!-- table -->", "<!-- end of table -->"
    pattern = re.compile(f"(?<={marks[0]}\n).*?(?={marks[1]})", re.DOTALL)
    PAGE.write_text(pattern.sub(lambda _: "\n".join(rows) + "\n", PAGE.read_text()))


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
    figure.supylabel("angle of the pole (rad)", fontsize="small")
    IMAGES.mkdir(parents=True, exist_ok=True)
    figure.savefig(Path(IMAGES) / "planners.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
