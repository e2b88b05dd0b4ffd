"""Plots of a comparison: curves over seeds, intervals of scores, probabilities of improvement, steps to a threshold."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from forethought.report.comparison import Band, Cell, Improvement
from forethought.report.plots import INK, MUTED, SERIES, drawn, log_if_wide, picture
from forethought.report.statistics import Estimate


@picture()
def return_curves(axes: Axes, cells: Sequence[Cell]) -> None:
    """Return on one environment against environment steps, for each algorithm over its seeds."""
    for number, cell in enumerate(cells):
        for record in cell.records:
            axes.plot(record.env_steps, record.returns, color=_color(number), alpha=0.25, linewidth=0.8)
        count = f"{len(cell.records)} seed{'s' * (len(cell.records) > 1)}"
        _draw_band(axes, cell.band, number, f"{cell.algorithm} ({count})")
    value = cells[0].threshold.value
    if value is not None:
        axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="threshold")
    _log_steps(axes)
    axes.set_ylabel("return")
    axes.legend(loc="best")


@picture()
def aggregate_curves(axes: Axes, bands: Sequence[tuple[str, Band]]) -> None:
    """Normalized return over all environments against environment steps."""
    for number, (label, band) in enumerate(bands):
        _draw_band(axes, band, number, label)
    _log_steps(axes)
    axes.set_ylabel("normalized return")
    axes.legend(loc="best")


@picture(height=2.8)
def wall_time_curves(axes: Axes, cells: Sequence[Cell]) -> None:
    """Return against wall-clock minutes of training, a line for each run."""
    for number, cell in enumerate(cells):
        for i, record in enumerate(cell.records):
            label = {"label": cell.algorithm} if i == 0 else {}
            axes.plot(record.wall_s / 60, record.returns, color=_color(number), linewidth=1.2, **label)
    axes.set_xlabel("wall-clock time of training (min)")
    axes.set_ylabel("return")
    axes.legend(loc="best")


@picture(height=2.8)
def model_error_curves(axes: Axes, cells: Sequence[Cell]) -> None:
    """The model error that each round reported, a line for each run that has one."""
    for number, cell in enumerate(cells):
        known = [record for record in cell.records if np.isfinite(record.model_error).any()]
        for i, record in enumerate(known):
            label = {"label": cell.algorithm} if i == 0 else {}
            axes.plot(
                record.env_steps, record.model_error, color=_color(number), marker="o", markersize=3, alpha=0.9, **label
            )
    log_if_wide(axes, np.concatenate([record.model_error for cell in cells for record in cell.records]))
    _log_steps(axes)
    axes.set_ylabel("model error")
    axes.legend(loc="best")


def score_intervals(estimates: Sequence[tuple[str, Estimate]], label: str) -> bytes:
    """A dot and an interval for each algorithm."""
    rows = [(name, one, _color(number)) for number, (name, one) in enumerate(estimates)]
    return drawn(lambda figure: _intervals(figure.add_subplot(), rows, label), *_size(figure_rows=len(rows)))


def improvement_intervals(improvements: Sequence[Improvement]) -> bytes:
    """A dot and an interval for each pair of algorithms; the line at 0.5 means equally good."""
    rows = [(f"{one.better} > {one.other}", one.probability, SERIES[0]) for one in improvements]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        _intervals(axes, rows, "probability of improvement")
        axes.set_xlim(-0.02, 1.02)

    return drawn(draw, *_size(figure_rows=len(rows)))


@picture(height=2.8)
def share_reached(axes: Axes, cells: Sequence[Cell]) -> None:
    """Share of runs that have reached the threshold, against environment steps."""
    end = max(record.env_steps[-1] for cell in cells for record in cell.records)
    for number, cell in enumerate(cells):
        steps = np.sort([step for step in cell.reached.steps if np.isfinite(step)])
        start = min(record.env_steps[0] for record in cell.records)
        shares = np.arange(len(steps) + 1) / len(cell.records)
        xs, ys = np.concatenate([[start], steps, [end]]), np.concatenate([shares, shares[-1:]])
        axes.step(xs, ys, where="post", color=_color(number), label=cell.algorithm)
    axes.set_ylim(-0.03, 1.03)
    _log_steps(axes)
    axes.set_ylabel("share of runs")
    axes.legend(loc="best")


def _draw_band(axes: Axes, band: Band, number: int, label: str) -> None:
    axes.fill_between(band.env_steps, band.low, band.high, color=_color(number), alpha=0.18, linewidth=0)
    axes.plot(band.env_steps, band.value, color=_color(number), label=label)


def _intervals(axes: Axes, rows: Sequence[tuple[str, Estimate, str]], label: str) -> None:
    for number, (_, one, color) in enumerate(rows):
        if np.isfinite(one.low):
            axes.plot([one.low, one.high], [number, number], color=color, linewidth=7, alpha=0.35)
        axes.plot([one.value], [number], color=INK, marker="|", markersize=14, markeredgewidth=1.8)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(label)


def _size(figure_rows: int) -> tuple[float, float]:
    return 5.6, 0.9 + 0.36 * figure_rows


def _log_steps(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("environment steps")


def _color(number: int) -> str:
    return SERIES[number % len(SERIES)]
