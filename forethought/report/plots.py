"""The report's plots, each as the bytes of an SVG (or PNG) file; matplotlib without pyplot.

Colors: Okabe & Ito's palette, which color-blind readers can tell apart.  Ink, grid and paper are fixed colors here; a
page may replace them by its own (see `THEMED`).
"""

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from forethought.report.curves import Baseline, Curve
from forethought.report.diagnostics import LEVELS, Calibration, ModelError
from forethought.report.plan_prediction import PlanPrediction

INK, MUTED, GRID, PAPER = "#1b1f27", "#667085", "#e4e7ec", "#fefefe"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SOLVED = "#009e73"
THEMED = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
THEMED |= {color: f"--s{number}" for number, color in enumerate(SERIES)}

STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.fonttype": "none",  # text stays text: selectable, in the page's font
    "svg.hashsalt": "forethought",  # the same data gives the same bytes
}
P = ParamSpec("P")


def picture(
    width: float = 5.6, height: float = 3.3
) -> Callable[[Callable[Concatenate[Axes, P], None]], Callable[P, bytes]]:
    """Make a function that draws into axes return an image file; sizes in inches."""

    def decorate(draw: Callable[Concatenate[Axes, P], None]) -> Callable[P, bytes]:
        @functools.wraps(draw)
        def render(*args: P.args, **kwargs: P.kwargs) -> bytes:
            image_format = str(kwargs.pop("image_format", "svg"))
            return drawn(lambda figure: draw(figure.add_subplot(), *args, **kwargs), width, height, image_format)

        return render

    return decorate


def drawn(draw: Callable[[Figure], None], width: float, height: float, image_format: str = "svg") -> bytes:
    """An image file of what `draw` puts into an empty figure; sizes in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        file = io.BytesIO()
        paper = {} if image_format == "svg" else {"facecolor": PAPER, "dpi": 160}
        figure.savefig(file, format=image_format, metadata={"Date": None} if not paper else None, **paper)
    return file.getvalue()


@picture()
def learning_curve(axes: Axes, curve: Curve, baseline: Baseline | None = None) -> None:
    """Return per round against environment steps (and seconds of experience); solved rounds are marked."""
    if baseline is not None:
        low, high = baseline.mean - baseline.std, baseline.mean + baseline.std
        axes.axhspan(low, high, color=MUTED, alpha=0.18, linewidth=0)
        axes.axhline(baseline.mean, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="random actions")
    markers: dict[str, Any] = {"marker": "o", "markersize": 3.2} if len(curve.returns) <= 60 else {}
    axes.plot(curve.env_steps, curve.returns, color=SERIES[0], label=curve.label, **markers)
    if curve.solved.any():
        steps, returns = curve.env_steps[curve.solved], curve.returns[curve.solved]
        hollow: dict[str, Any] = {"facecolors": "none", "edgecolors": SOLVED, "linewidths": 1.6}
        axes.scatter(steps, returns, s=46, zorder=3, label="solved", **hollow)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return")
    axes.legend(loc="best")
    _seconds_above(axes, curve.dt)


@picture(height=2.8)
def model_error_curve(axes: Axes, curve: Curve) -> None:
    """The model error that each round reported, against environment steps."""
    axes.plot(curve.env_steps, curve.model_error, color=SERIES[0], marker="o", markersize=3, alpha=0.9)
    log_if_wide(axes, curve.model_error)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("model error")


@picture()
def error_by_horizon(axes: Axes, error: ModelError, dt: float) -> None:
    """Open-loop error, divided by the standard deviation of the data, against steps ahead."""
    steps = np.arange(1, error.horizon + 1)
    low, high = _drawable(error.low), _drawable(error.high)
    axes.fill_between(steps, low, high, color=SERIES[0], alpha=0.18, linewidth=0, label="80% of start points")
    axes.plot(steps, _drawable(error.median), color=SERIES[0], label="model, median")
    axes.plot(steps, _drawable(error.rmse), color=SERIES[0], linewidth=1.1, linestyle=(0, (1, 1.4)), label="model, RMS")
    axes.plot(steps, _drawable(error.spread), color=SERIES[1], linestyle=(0, (5, 2)), label="predicted error")
    axes.plot(steps, _drawable(error.unchanged), color=MUTED, linewidth=1.2, label="'no change' baseline")
    log_if_wide(axes, np.concatenate([error.median, error.unchanged, error.spread]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("error / std of the data")
    axes.legend(loc="best", ncols=2)
    _seconds_above(axes, dt, "seconds ahead")


@picture()
def error_by_coordinate(axes: Axes, error: ModelError, names: Sequence[str], limit: int = 12) -> None:
    """The coordinates with the largest error at the end of the horizon, and their error after one step."""
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(error.scale > 0, error.per_coordinate / error.scale, np.nan)
    moving = [i for i in np.argsort(-np.nan_to_num(relative[-1], nan=-1)) if error.scale[i] > 0][:limit]
    rows, thick = np.arange(len(moving)), 0.38 * min(1, len(moving) / 5)
    axes.barh(
        rows - thick / 2, _drawable(relative[-1, moving]), thick, color=SERIES[0], label=f"{error.horizon} steps ahead"
    )
    axes.barh(rows + thick / 2, _drawable(relative[0, moving]), thick, color=SERIES[5], label="1 step ahead")
    axes.set_yticks(rows, [names[i] for i in moving])
    axes.set_ylim(len(moving) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("RMS error / std of the data")
    axes.legend(loc="lower right")


@picture()
def reliability(axes: Axes, calibration: Calibration, steps: Sequence[int]) -> None:
    """Observed against expected coverage of central predictive intervals, for several steps ahead."""
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    for number, step in enumerate(steps):
        label = f"{step} step{'s' if step > 1 else ''} ahead"
        axes.plot(
            100 * LEVELS, 100 * calibration.pooled(step), color=SERIES[number], marker="o", markersize=3, label=label
        )
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.text(97, 6, "overconfident", color=MUTED, ha="right", fontsize=9)
    axes.text(3, 91, "underconfident", color=MUTED, fontsize=9)
    axes.set_xlabel("nominal coverage (%)")
    axes.set_ylabel("observed coverage (%)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))


@picture(height=2.6)
def pit_histogram(axes: Axes, calibration: Calibration, step: int, bins: int = 20) -> None:
    """Probability integral transform of the observed values; flat for a calibrated model."""
    values = calibration.pit[:, step - 1]
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, bins, range=(0, 1))
    axes.bar(edges[:-1], counts / max(len(values), 1) * bins, 1 / bins, align="edge", color=SERIES[0], alpha=0.75)
    axes.axhline(1, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set(xlim=(0, 1))
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("predicted probability of a value below the observed one")
    axes.set_ylabel("density")


@picture(width=4.6, height=2.5)
def plan_against_reality(
    axes: Axes, real: np.ndarray, plans: Sequence[tuple[int, np.ndarray]], dt: float, label: str
) -> None:
    """One quantity over an episode: executed (black), and predicted by plans made during it.

    Args:
        axes: to draw into.
        real: executed values, [T+1] (or [T], of actions).
        plans: (start step, [3, H+1]: 5th, 50th, 95th percentile; [1, H] where there is no band).
        dt: s per step.
        label: of the quantity.
    """
    for number, (start, bands) in enumerate(plans):
        color = SERIES[number % len(SERIES)]
        shown = _drawable(bands[:, : max(len(real) - start, 1)])
        middle, seconds = shown[len(shown) // 2], dt * (start + np.arange(shown.shape[1]))
        axes.fill_between(seconds, shown[0], shown[-1], color=color, alpha=0.2, linewidth=0)
        axes.plot(seconds, middle, color=color, linewidth=1.6)
        axes.plot(seconds[:1], middle[:1], color=color, marker="o", markersize=4)
    axes.plot(dt * np.arange(len(real)), real, color=INK, linewidth=1.1)
    axes.margins(x=0.02)
    axes.set_xlabel("time (s)")
    axes.set_ylabel(label)


def expected_reward(plans: Sequence[PlanPrediction], total: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Predicted cumulative rewards of plans, added to the real cumulative reward `total` [T+1] at their start."""
    return [(plan.start, plan.reward + total[plan.start]) for plan in plans]


def _drawable(values: np.ndarray) -> np.ndarray:
    """Infinities as gaps."""
    return np.where(np.isfinite(values), values, np.nan)


def log_if_wide(axes: Axes, values: np.ndarray) -> None:
    """A logarithmic scale where positive values span more than a factor of ten."""
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive) and positive.max() > 10 * positive.min() and (values[np.isfinite(values)] > 0).all():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _seconds_above(axes: Axes, dt: float, label: str = "seconds of experience") -> None:
    """A second scale above, in seconds."""
    above = axes.secondary_xaxis("top", functions=(lambda steps: steps * dt, lambda seconds: seconds / dt))
    above.set_xlabel(label, fontsize=9)
    above.spines["top"].set_visible(False)
    above.tick_params(length=0)
