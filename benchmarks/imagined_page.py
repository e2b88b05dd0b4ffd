"""Table and figure of docs/imagined.md from saved results; `imagined.py` calls it last, or with --draw.

Only reporting seeds count.  SAC's results are those of learners.py.
"""

import json
import statistics
from dataclasses import dataclass

import numpy as np
from common import RESULTS
from matplotlib.figure import Figure
from page import DOCS, interval_text, put_table, save_figure

PAGE = DOCS / "imagined.md"
LAST = 3  # episodes before a number of steps whose mean return is its return


@dataclass(frozen=True)
class Comparison:
    """Algorithms on one environment, in the same number of real steps."""

    env: str
    name: str  # of the table
    sides: dict[str, str]  # algorithm: its results
    at: tuple[int, ...]  # real steps
    published: dict[str, dict[int, float]]  # algorithm: returns of tests at these numbers of steps


COMPARISONS = (
    Comparison(
        "HalfCheetah-v5",
        "half-cheetah",
        {
            "value gradients": "imagined_cheetah_value_gradients_50k",
            "MBPO": "imagined_cheetah_mbpo",
            "SAC": "learners_cheetah_sac",
        },
        (15_000, 25_000, 50_000),
        # medians where the sources have them, means otherwise
        {
            "DHMBPO": {25_000: 5306, 50_000: 7356},
            "DHMBPO, best variants": {25_000: 7796, 50_000: 9691},
            "MBPO": {25_000: 5071, 50_000: 7945},
            "SAC": {25_000: 4403, 50_000: 5733},
        },
    ),
    Comparison(
        "Hopper-v5",
        "hopper",
        {
            "value gradients": "imagined_hopper_value_gradients_50k",
            "MBPO": "imagined_hopper_mbpo",
            "SAC": "imagined_hopper_sac",
        },
        (15_000, 25_000, 50_000),
        {"MBPO": {50_000: 1694}, "SAC": {50_000: 1125}},
    ),
)
PHASED = {
    "MB-MF, SAC": "imagined_cheetah_mb_mf",
    "SAC from the start": "learners_cheetah_sac",
    "MB-MF, PPO": "imagined_cheetah_mb_mf_ppo",
    "PPO from the start": "imagined_cheetah_ppo",
}
GOAL = 3000  # a return on HalfCheetah


def write_page() -> None:
    """Whatever there are results of."""
    for one in COMPARISONS:
        sides = {side: seeds for side, name in one.sides.items() if (seeds := reporting(name))}
        if sides:
            put_table(PAGE, one.name, table_of(one, sides))
        if len(sides) > 1:
            figure_name = "imagined_" + one.name.replace("half-", "")
            save_figure(figure_name, lambda figure, c=one, s=sides: draw(figure, c, s), width=7, height=3.6)
    phased = {side: seeds for side, name in PHASED.items() if (seeds := reporting(name))}
    if len(phased) > 1:
        put_table(PAGE, "phases", phases_table(phased))


def reporting(name: str) -> list[dict]:
    """The reporting seeds of an experiment."""
    path = RESULTS / f"{name}.json"
    seeds = json.loads(path.read_text())["seeds"] if path.exists() else []
    return [seed for seed in seeds if seed["seed_kind"] == "reporting"]


def table_of(comparison: Comparison, sides: dict[str, list[dict]]) -> list[list[str]]:
    """One line for each algorithm, then the published returns."""
    at = comparison.at
    table = [["algorithm", "seeds", *(f"return at {steps:,} steps" for steps in at), "evaluated at the end", "hours"]]
    for side, seeds in sides.items():
        cells = []
        for steps in at:
            values = [value for seed in seeds if (value := return_at(seed, steps)) is not None]
            cells.append(interval_text(values, digits=4) if values else "-")
        ends = interval_text([seed["evaluation"]["mean"] for seed in seeds], digits=4)
        hours = statistics.median(seed["wall_s"] for seed in seeds) / 3600
        end = f"{ends} at {seeds[0]['env_steps']:,}"
        table.append([side, str(len(seeds)), *cells, end, f"{hours:.1f}"])
    for name, returns in comparison.published.items():
        cells = [f"{returns[steps]:,}" if steps in returns else "" for steps in at]
        table.append([f"{name}, published", "", *cells, "", ""])
    return table


def phases_table(sides: dict[str, list[dict]]) -> list[list[str]]:
    """What each phase of MB-MF came to, beside the same learner from the start; returns per 1,000 steps."""
    goal = f"{GOAL:,}"
    table = [
        [
            "",
            "seeds",
            "MPC, best",
            "imitation, last",
            f"MPC at {goal}",
            f"policy at {goal}",
            "return at 50,000",
            "evaluated at the end",
        ]
    ]
    for side, seeds in sides.items():
        phases = [[phase_return(seed, phase) for seed in seeds] for phase in (1, 2)]
        cells = [interval_text(values, digits=4) if None not in values else "" for values in phases]
        cells += [reached_text(seeds, phases=(1,)) if cells[0] else "", reached_text(seeds, phases=(2, 3, None))]
        middle = [value for seed in seeds if (value := return_at(seed, 50_000)) is not None]
        ends = interval_text([seed["evaluation"]["mean"] for seed in seeds], digits=4)
        cells += [interval_text(middle, digits=4), f"{ends} at {seeds[0]['env_steps']:,}"]
        table.append([side, str(len(seeds)), *cells])
    return table


def reached_text(seeds: list[dict], phases: tuple[int | None, ...]) -> str:
    """The real steps to the goal, and in how many seeds."""
    reached = [steps for seed in seeds if (steps := steps_to(seed, GOAL, phases)) is not None]
    return f"{np.mean(reached):,.0f} steps, {len(reached)} of {len(seeds)}" if reached else "never"


def per_1000_steps(seed: dict) -> list[tuple[int, float, float | None]]:
    """Of each round: real steps so far, mean return of its episodes, phase; phase 1, whose are shorter, is scaled."""
    lines, steps, episodes = [], 0, 0
    for line in seed["curve"]:
        length = (line["env_steps"] - steps) / (line["episodes"] - episodes) if line.get("phase") == 1 else 1000
        steps, episodes = line["env_steps"], line.get("episodes", 0)
        lines.append((steps, line["return_mean"] * 1000 / length, line.get("phase")))
    return lines


def phase_return(seed: dict, phase: int) -> float | None:
    """Best mean of four rounds in a row of phase 1; the last round of phase 2; None without phases."""
    returns = [value for _, value, when in per_1000_steps(seed) if when == phase]
    if not returns:
        return None
    means = [statistics.mean(returns[max(i - 3, 0) : i + 1]) for i in range(min(3, len(returns) - 1), len(returns))]
    return max(means) if phase == 1 else returns[-1]


def steps_to(seed: dict, goal: float, phases: tuple[int | None, ...]) -> int | None:
    """Real steps until the mean return of the last rounds of these phases reaches a goal."""
    lines = [line for line in per_1000_steps(seed) if line[2] in phases]
    for i in range(LAST - 1, len(lines)):
        if statistics.mean(value for _, value, _ in lines[i - LAST + 1 : i + 1]) >= goal:
            return lines[i][0]
    return None


def return_at(seed: dict, steps: int) -> float | None:
    """The mean return of the last episodes before so many real steps; None if the run ended before."""
    lines = [line["return_mean"] for line in seed["curve"] if line["env_steps"] <= steps]
    return statistics.mean(lines[-LAST:]) if seed["curve"][-1]["env_steps"] >= steps else None


def draw(figure: Figure, comparison: Comparison, sides: dict[str, list[dict]]) -> None:
    """Return by real steps, a line for each seed, and published returns as markers."""
    ax, most = figure.subplots(), comparison.at[-1] / 1000
    for i, (side, seeds) in enumerate(sides.items()):
        for seed in seeds:
            steps = [line["env_steps"] / 1000 for line in seed["curve"]]
            label = side if seed is seeds[0] else None
            ax.plot(steps, [line["return_mean"] for line in seed["curve"]], color=f"C{i}", lw=1.2, label=label)
    for marker, (name, returns) in zip("sDv^", comparison.published.items(), strict=False):
        ax.plot(
            [s / 1000 for s in returns], list(returns.values()), marker, color="0.4", ms=5, label=f"{name}, published"
        )
    ax.set(xlabel="real steps, thousands", ylabel="return of an episode", xlim=(0, 1.04 * most), title=comparison.env)
    ax.legend(fontsize=7, loc="upper left")


if __name__ == "__main__":
    write_page()
