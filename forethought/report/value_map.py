"""What a tabular algorithm learned: its value function and greedy policy, on the map where there is one."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from forethought.envs.grids.grid_map import GridMap, grid_map
from forethought.report.page import Picture, Section, Table
from forethought.report.plots import GRID, INK, MUTED, SERIES, drawn, picture
from forethought.report.record import number

CELL = 0.62  # inches
WIDEST, TALLEST = 9.0, 8.0  # inches
NUMBERED = 150  # cells up to which values are written into them


def value_map_sections(run: Any) -> list[Section]:
    """The section of the report of `run`, if its algorithm is tabular."""
    state = run.state
    if not (hasattr(state, "q") and hasattr(getattr(state, "model", None), "count")):
        return []
    q, count = np.asarray(state.q), np.asarray(state.model.count)
    visited = np.any(count > 0, axis=1)
    shown, caption = grid_map(run.env), "V(s) = max over a of Q(s, a), of the states visited in training."
    if shown is None:
        pictures = [Picture(value_histogram(q[visited].max(axis=1)), caption)] if visited.any() else []
    else:
        svg = drawn(lambda figure: draw_map(figure, shown, q, visited), *_size(shown))
        caption += (
            " Arrows: the actions of the greedy policy, all that share the largest Q. Dark: walls. Hatched with a "
            "question mark: never visited, so nothing is known of it. S start, G goal, H hole or cliff."
        )
        pictures = [Picture(svg, caption, size="wide")]
    return [Section("Value function and greedy policy", pictures=pictures, table=knowledge(count, state))]


def knowledge(count: np.ndarray, state: Any) -> Table:
    """How much of the environment the model knows, and what is unknown to it."""
    states, pairs = np.any(count > 0, axis=1), count > 0
    return Table(
        ("", "known", "unknown (never visited or tried)"),
        [
            ["states", f"{states.sum():,}", f"{(~states).sum():,}"],
            ["state-action pairs", f"{pairs.sum():,}", f"{(~pairs).sum():,}"],
            ["of states that were visited", f"{pairs[states].sum():,}", f"{(~pairs[states]).sum():,}"],
            ["updates of Q", number(float(state.updates), 7), "-"],
        ],
    )


@picture(height=2.6)
def value_histogram(axes: Axes, values: Float[np.ndarray, "V"]) -> None:
    """How many visited states have which value."""
    axes.hist(values, bins=min(30, max(5, len(values) // 4)), color=SERIES[0], alpha=0.75)
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("value of the state")
    axes.set_ylabel("visited states")


def draw_map(figure: Figure, shown: GridMap, q: Float[np.ndarray, "S A"], visited: Bool[np.ndarray, "S"]) -> None:
    """Values as colors (and numbers on small maps), greedy actions as arrows."""
    rows, columns = shown.cells.shape
    axes = figure.add_subplot()
    values = q.max(axis=1)
    ends = np.isin(shown.cells.ravel(), ["#", "G", "H"])
    known = visited & ~ends
    colored = np.where(known, values, np.nan).reshape(rows, columns)
    image = axes.imshow(colored, cmap="Blues", alpha=0.6, vmin=values[known].min() if known.any() else 0)
    figure.colorbar(image, ax=axes, label="value", shrink=0.8)
    for s, kind in enumerate(shown.cells.ravel()):
        i, j = divmod(s, columns)
        _draw_kind(axes, i, j, str(kind), unknown=not visited[s])
        if known[s]:
            _draw_greedy(axes, i, j, q[s], shown.moves)
            if shown.cells.size <= NUMBERED:
                axes.text(j + 0.46, i + 0.46, f"{values[s]:.2g}", color=INK, fontsize=6, ha="right", va="bottom")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def _draw_kind(axes: Axes, i: int, j: int, kind: str, *, unknown: bool) -> None:
    fill = {"#": INK, "H": SERIES[1], "G": SERIES[2]}.get(kind, "none")
    hatch = "////" if unknown and fill == "none" else None
    axes.add_patch(
        Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=fill, edgecolor=GRID if hatch is None else MUTED, hatch=hatch,
                  linewidth=0.6, alpha=1 if kind == "#" else 0.7)
    )  # fmt: skip
    label = kind if kind in "SGH" else "?" if unknown and kind != "#" else ""
    place = (j - 0.44, i - 0.42) if kind == "S" else (j, i)
    centered = "left" if kind == "S" else "center"
    axes.text(*place, label, color=INK, fontsize=9, ha=centered, va="top" if kind == "S" else "center")


def _draw_greedy(axes: Axes, i: int, j: int, values: Float[np.ndarray, "A"], moves: Float[np.ndarray, "A 2"]) -> None:
    for down, right in moves[values == values.max()]:
        start, end = (j - 0.12 * right, i - 0.12 * down), (j + 0.32 * right, i + 0.32 * down)
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.0})


def _size(shown: GridMap) -> tuple[float, float]:
    rows, columns = shown.cells.shape
    cell = min(CELL, WIDEST / columns, TALLEST / rows)
    return max(cell * columns + 1.2, 3.0), max(cell * rows + 0.4, 2.0)
