"""Tables and figures of docs/dyna.md from saved results; `dyna.py` calls it at its end, or alone with --draw.

Only reporting seeds count.  Intervals are 95% bootstrap intervals over runs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dyna import CHANGING, EPISODES, EVERY, SHORTEST, TASKS
from matplotlib.figure import Figure
from page import DOCS, put_table, save_figure
from rows import Row, reporting

PAGE = DOCS / "dyna.md"
REPS = 4000  # bootstrap resamples
CHANGES = {"BlockingMaze-v0": 1000, "ShortcutMaze-v0": 3000}  # steps


def write_page() -> None:
    """Whatever there are results of."""
    maze, changing, sweeping, episodes = (
        reporting(f"dyna_{part}") for part in ("maze", "changing", "sweeping", "episodes")
    )
    if maze:
        save_figure("dyna_maze", lambda figure: draw_maze(figure, maze), width=5.6)
        put_table(PAGE, "maze", maze_table(maze))
    if changing:
        save_figure("dyna_changing", lambda figure: draw_changing(figure, changing), width=9)
        put_table(PAGE, "changing", changing_table(changing))
    if sweeping:
        save_figure("dyna_sweeping", lambda figure: draw_sweeping(figure, sweeping), width=5.6)
        put_table(PAGE, "sweeping", sweeping_table(sweeping))
    if episodes:
        put_table(PAGE, "episodes", episodes_table(episodes))


def maze_table(rows: list[Row]) -> list[list[str]]:
    """Episodes until near-optimal by planning steps."""
    table = [["planning steps n", "runs", "episodes until near-optimal", "runs that never were", "steps of episode 2"]]
    for row in rows:
        table.append(
            [str(row["planning_steps"]), str(row["runs"]), median(row["episodes"], EPISODES),
             str(missing(row["episodes"])), f"{row['curve'][1]:.0f}"]
        )  # fmt: skip
    return table


def changing_table(rows: list[Row]) -> list[list[str]]:
    """Cumulative reward at the change and at the end."""
    table = [
        [
            "maze",
            "learner",
            "runs",
            "reward until the change",
            "reward at the end",
            "share of runs without reward after it",
        ]
    ]
    for row in rows:
        change, final = np.array(row["at_change"]), np.array(row["final"])
        table.append(
            [row["maze"], row["learner"], str(row["runs"]), mean(change), mean(final),
             f"{100 * np.mean(final - change <= 1):.0f}%"]
        )  # fmt: skip
    return table


def sweeping_table(rows: list[Row]) -> list[list[str]]:
    """Updates and real steps by size of the maze."""
    table = [["k", "learner", "runs", "updates of Q", "real steps", "Dyna-Q's updates / these"]]
    for row in rows:
        other = next((r for r in rows if r["scale"] == row["scale"] and r["learner"] == "Dyna-Q"), None)
        both = other is not None and other is not row
        ratio = f"{np.median(known(other['updates'])) / np.median(known(row['updates'])):.1f}" if both else "-"
        steps = row["real_steps"]
        table.append(
            [str(row["scale"]), row["learner"], str(row["runs"]), median(row["updates"]), median(steps), ratio]
        )
    return table


def episodes_table(rows: list[Row]) -> list[list[str]]:
    """Real episodes until the greedy policy is good."""
    table = [["task", "learner", "runs", "real episodes", "real steps", "Q-learning's episodes / these"]]
    for row in rows:
        most = TASKS[row["task"]][3]
        base = next(r for r in rows if r["task"] == row["task"] and r["learner"] == "Q-learning")
        ratio = "-" if row is base else ratio_text(base["episodes"], row["episodes"], most)
        table.append(
            [row["task"], row["learner"], str(row["runs"]), median(row["episodes"], most),
             median(row["real_steps"]), ratio]
        )  # fmt: skip
    return table


def known(values: Sequence[float | None], most: float | None = None) -> np.ndarray:
    """Runs that never got there count as `most`, or not at all."""
    kept = [most if one is None else one for one in values]
    return np.array([one for one in kept if one is not None], float)


def missing(values: Sequence[float | None]) -> int:
    """Runs that never got there."""
    return sum(one is None for one in values)


def median(values: Sequence[float | None], most: float | None = None) -> str:
    """The median with its interval."""
    return _text(known(values, most), np.median)


def mean(values: Sequence[float]) -> str:
    """The mean with its interval."""
    return _text(np.asarray(values, float), np.mean)


def _text(values: np.ndarray, statistic: Callable[..., Any]) -> str:
    draws = statistic(np.random.default_rng(0).choice(values, (REPS, len(values))), axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{number(statistic(values))} ({number(low)} to {number(high)})"


def number(value: float) -> str:
    """Three digits."""
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio_text(base: Sequence[int | None], ours: Sequence[int | None], most: int) -> str:
    """Ratio of medians with its interval."""
    rng, a, b = np.random.default_rng(0), known(base, most), known(ours, most)
    draws = [np.median(rng.choice(x, (REPS, len(x))), axis=1) for x in (a, b)]
    low, high = np.quantile(draws[0] / draws[1], [0.025, 0.975])
    return f"{np.median(a) / np.median(b):.1f} ({low:.1f} to {high:.1f})"


def draw_maze(figure: Figure, rows: list[Row]) -> None:
    """Steps of each episode, mean over runs."""
    axes = figure.add_subplot()
    for row in rows:
        axes.plot(range(2, len(row["curve"]) + 1), row["curve"][1:], label=f"n = {row['planning_steps']}")
    axes.axhline(SHORTEST, color="0.5", linewidth=0.8, linestyle="--", label="shortest path")
    axes.set(xlabel="episode", ylabel="steps of the episode", ylim=(0, 800))
    axes.legend(frameon=False)


def draw_changing(figure: Figure, rows: list[Row]) -> None:
    """Cumulative reward by steps, a panel for each maze."""
    for name, axes in zip(CHANGING, figure.subplots(1, len(CHANGING)), strict=True):
        for row in rows:
            if row["maze"] == name:
                steps = EVERY * np.arange(1, len(row["curve"]) + 1)
                axes.plot(steps, row["curve"], label=row["learner"])
        axes.axvline(CHANGES[name], color="0.5", linewidth=0.8, linestyle="--")
        axes.set(title=name, xlabel="steps", ylabel="cumulative reward")
        axes.legend(frameon=False)


def draw_sweeping(figure: Figure, rows: list[Row]) -> None:
    """Updates until near-optimal by the number of states; median and range."""
    axes = figure.add_subplot()
    for learner in ("Dyna-Q", "prioritized sweeping"):
        some = [row for row in rows if row["learner"] == learner]
        sizes = [47 * row["scale"] ** 2 for row in some]  # cells that are not walls
        values = [known(row["updates"]) for row in some]
        axes.plot(sizes, [np.median(v) for v in values], marker=".", label=learner)
        axes.fill_between(sizes, [v.min() for v in values], [v.max() for v in values], alpha=0.15, linewidth=0)
    axes.set(xlabel="states", ylabel="updates of Q until near-optimal", xscale="log", yscale="log")
    axes.legend(frameon=False)
