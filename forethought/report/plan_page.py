"""The results of planning on a known system: a table, and a self-contained page with trajectories and videos."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from forethought.core import ForethoughtError
from forethought.envs.env import Env
from forethought.report.page import Page, Picture, Section, Table, render
from forethought.report.plan_prediction import names_of_actions, unwrapped
from forethought.report.plots import SERIES, picture
from forethought.report.recording import write_mp4
from forethought.runs.files import write_whole
from forethought.runs.plan_episode import Planned

MOST = 12  # coordinates that are drawn
COLUMNS: dict[str, Callable[[Planned], str]] = {
    "planner": lambda one: one.planner,
    "plans": lambda one: "every step" if one.receding else "once",
    "cost": lambda one: f"{one.cost:.4g}",
    "steps": lambda one: f"{one.length}",
    "success": lambda one: {None: "-", True: "yes", False: "no"}[one.success],
    "violation": lambda one: "-" if one.violations is None else f"{max(one.violations.largest, 0):.2g}",
    "converged": lambda one: {None: "-", True: "yes", False: "no"}[one.converged],
    "iterations": lambda one: "-" if one.iterations is None else f"{one.iterations:.3g}",
    "planning": lambda one: seconds(one.wall_s),
    "p50": lambda one: seconds(one.latency.p50),
    "p95": lambda one: seconds(one.latency.p95),
    "p99": lambda one: seconds(one.latency.p99),
    "compile": lambda one: seconds(one.compile_s),
}


def table(planned: Sequence[Planned]) -> list[list[str]]:
    """The head and a row for each planner, as text."""
    constrained = any(one.violations is not None for one in planned)
    columns = {name: cell for name, cell in COLUMNS.items() if constrained or name != "violation"}
    return [list(columns), *([cell(one) for cell in columns.values()] for one in planned)]


def seconds(value: float) -> str:
    """Three digits, in s or ms."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def write_plans(planned: Sequence[Planned], env: Env, out: str | Path, *, video: bool = True) -> Path:
    """Write `plan.html`, `plan.json` and a video for each planner into the directory `out`.

    Args:
        planned: at least one, all on `env`.
        env: what they acted in.
        out: a directory, made where it does not exist.
        video: also write videos, if the environment can draw recorded states.
    Returns: the page.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    records = json.dumps([one.as_json() for one in planned], indent=1, allow_nan=False) + "\n"
    write_whole(folder / "plan.json", records.encode())
    videos = [(one, _video(one, env, folder)) for one in planned] if video else []
    head, *rows = table(planned)
    best = min(planned, key=lambda one: one.cost)
    page = Page(
        title=f"Planning on {env.name}",
        subtitle="With the known model; nothing was learned.",
        status="done",
        figures=[(f"{best.cost:.4g}", "lowest cost", best.planner)],
        sections=[
            Section("Planners", text=[_EXPLANATION], table=Table(head, rows)),
            Section("Executed trajectories", pictures=_pictures(planned, env), legend=_legend(planned)),
            *(Section(f"Video: {one.planner}", video=content, half=True) for one, content in videos if content),
        ],
    )
    target = folder / "plan.html"
    write_whole(target, render(page).encode())
    return target


_EXPLANATION = (
    "Cost: of the executed episode, including the final cost. Planning: total time of all plans. p50, p95, p99: "
    "percentiles of the time for one plan. Times do not include compilation, which is shown separately."
)


def _legend(planned: Sequence[Planned]) -> list[tuple[str, str]]:
    return [(SERIES[i % len(SERIES)], one.planner) for i, one in enumerate(planned)]


def _pictures(planned: Sequence[Planned], env: Env) -> list[Picture]:
    """One plot for each coordinate of states and actions, with a line for each planner."""
    states = [unwrapped(env.space, one.episode) for one in planned]
    actions = [one.episode.u for one in planned]
    dt = float(env.task.dt)
    kinds = ((states, env.space.names), (actions, names_of_actions(env.task, planned[0].episode)))
    return [
        Picture(over_time([rows[:, i] for rows in series], dt, names[i]), size="small")
        for series, names in kinds
        for i in range(min(series[0].shape[1], MOST))
    ]


@picture(width=4.0, height=2.4)
def over_time(axes: Axes, series: Sequence[np.ndarray], dt: float, label: str) -> None:
    """One coordinate [T] (or [T + 1]) of several planners against time."""
    for number, values in enumerate(series):
        axes.plot(dt * np.arange(len(values)), values, color=SERIES[number % len(SERIES)], linewidth=1.4)
    axes.set_xlabel("time (s)")
    axes.set_ylabel(label)


def _video(one: Planned, env: Env, folder: Path) -> bytes | None:
    """The episode as an MP4 file in `folder`; None if the environment cannot draw recorded states."""
    draw = getattr(env, "pictures", None)
    if draw is None:
        return None
    try:
        return write_mp4(draw(one.episode), folder / f"{one.planner}.mp4", dt=float(env.task.dt)).read_bytes()
    except ForethoughtError:  # cannot be rendered; the page is written without it
        return None
