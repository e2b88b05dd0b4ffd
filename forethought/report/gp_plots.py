"""Pictures of a Gaussian process: posterior mean, a band of one standard deviation, data, and sampled functions."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forethought.report.gp_slices import Slice, Slices
from forethought.report.plots import INK, SERIES, drawn

PANEL = (2.1, 1.7)  # inches
MOST = 8  # rows and columns shown


def textbook_picture(one: Slice, image_format: str = "svg") -> bytes:
    """One input and one output, large."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _draw(axes, one, markersize=6.0)
        axes.set(xlim=(one.at[0], one.at[-1]), xlabel="input z", ylabel="output y")
        axes.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.14))

    return drawn(draw, 6.4, 3.8, image_format)


def slices_picture(slices: Slices, image_format: str = "svg") -> bytes:
    """A panel for each output (rows) along each input (columns)."""
    grid = [row[:MOST] for row in slices.grid[:MOST]]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(len(grid), len(grid[0]), sharex="col", sharey="row", squeeze=False)
        for row, axes_row, output in zip(grid, panels, slices.outputs, strict=False):
            for one, axes in zip(row, axes_row, strict=True):
                _draw(axes, one, markersize=2.5)
            axes_row[0].set_ylabel(output)
        for axes, name in zip(panels[-1], slices.inputs, strict=False):
            axes.set_xlabel(name)
        figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)

    return drawn(draw, PANEL[0] * len(grid[0]) + 0.5, PANEL[1] * len(grid) + 0.5, image_format)


def hidden(slices: Slices) -> str:
    """A sentence that says what is not shown; empty if all is shown."""
    rows, columns = len(slices.outputs), len(slices.inputs)
    if max(rows, columns) <= MOST:
        return ""
    return f"Only the first {min(rows, MOST)} of {rows} outputs and {min(columns, MOST)} of {columns} inputs are shown."


def _draw(axes: Axes, one: Slice, markersize: float) -> None:
    low, high = one.mean - one.std, one.mean + one.std
    axes.fill_between(one.at, low, high, color=SERIES[0], alpha=0.2, linewidth=0, label="one standard deviation")
    for number, sample in enumerate(one.samples):
        label: dict[str, Any] = {} if number else {"label": "sampled functions"}
        axes.plot(one.at, sample, color=SERIES[1], linewidth=0.8, alpha=0.75, **label)
    axes.plot(one.at, one.mean, color=SERIES[0], label="posterior mean")
    shown = one.weight > 0.02  # the rest would be invisible
    axes.scatter(one.z[shown], one.y[shown], markersize**2, INK, alpha=one.weight[shown], linewidths=0, zorder=3)
    axes.plot([], [], color=INK, marker="o", linestyle="none", markersize=markersize, label="data")
    extent = np.concatenate([low, high, one.y[shown]])
    axes.update_datalim(np.column_stack([np.full_like(extent, one.at[0]), extent]))
