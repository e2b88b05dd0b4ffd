"""The trust region of a run of local models or guided policy search: what every round predicted, allowed and got."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forethought.report.page import Picture, Section
from forethought.report.plots import INK, MUTED, SERIES, drawn

SIZE = (9.4, 5.2)  # inches
NEEDED = ("cost", "kl", "epsilon", "eta", "predicted_improvement", "actual_improvement", "step_multiplier")


def trust_region_sections(run: Any) -> list[Section]:
    """The section of the report of `run`, if its rounds were steps within a trust region."""
    lines = run.metrics
    if not lines or any(name not in lines[-1] for name in NEEDED):
        return []
    caption = (
        "Top left: mean cost of the rollouts of each round, with their exploration noise; thin lines: each initial "
        "condition. Top right: the KL divergence between the new and the old distribution of trajectories, and its "
        "bound epsilon. Bottom left: the Lagrange multiplier lambda of this bound (the metric `eta`), in cost per nat. "
        "Bottom right: the improvement that each step promised by the fitted models, and the one that the rollouts of "
        "the next round showed; the step size grows while they agree. Means over the initial conditions."
    )
    return [Section("Trust region", pictures=[Picture(trust_region_picture(lines), caption, size="wide")])]


def trust_region_picture(lines: Sequence[Mapping[str, Any]], image_format: str = "svg") -> bytes:
    """Four panels of the metrics of every round."""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(2, 2).ravel()
        rounds = np.arange(1, len(lines) + 1)
        _draw_costs(panels[0], lines, rounds)
        _draw_kl(panels[1], lines, rounds)
        _draw_multiplier(panels[2], lines, rounds)
        _draw_improvement(panels[3], lines, rounds)
        for axes in panels:
            axes.set_xlabel("round")
            axes.xaxis.get_major_locator().set_params(integer=True)

    return drawn(draw, *SIZE, image_format)


def _draw_costs(axes: Axes, lines: Sequence[Mapping[str, Any]], rounds: np.ndarray) -> None:
    each = [name for name in lines[-1] if name.startswith("cost_") and name.removeprefix("cost_").isdigit()]
    for name in each:
        axes.plot(rounds, _column(lines, name), color=MUTED, linewidth=0.8)
    axes.plot(rounds, _column(lines, "cost"), color=SERIES[0], marker="o", markersize=3.2)
    axes.set_ylabel("cost of a rollout")


def _draw_kl(axes: Axes, lines: Sequence[Mapping[str, Any]], rounds: np.ndarray) -> None:
    epsilon = _column(lines, "epsilon")
    if np.isfinite(epsilon).any():
        axes.plot(rounds, epsilon, color=INK, linestyle=(0, (4, 3)), linewidth=1.2, label="bound epsilon")
    _draw_positive(axes, rounds, _column(lines, "kl"), "KL divergence")
    axes.set_ylabel("KL divergence (nats)")
    axes.legend(loc="best")


def _draw_multiplier(axes: Axes, lines: Sequence[Mapping[str, Any]], rounds: np.ndarray) -> None:
    _draw_positive(axes, rounds, _column(lines, "eta"), "lambda")
    axes.set_ylabel("lambda (cost per nat)")


def _draw_positive(axes: Axes, rounds: np.ndarray, values: Float[np.ndarray, "R"], label: str) -> None:
    """On a logarithmic axis; values that have none are left out."""
    shown = np.where(values > 0, values, np.nan)
    axes.plot(rounds, shown, color=SERIES[0], marker="o", markersize=3.2, label=label)
    if np.isfinite(shown).any():
        axes.set_yscale("log")


def _draw_improvement(axes: Axes, lines: Sequence[Mapping[str, Any]], rounds: np.ndarray) -> None:
    """The step of round k is predicted in round k, and measured in round k + 1."""
    axes.axhline(0, color=MUTED, linewidth=0.8)
    predicted, actual = _column(lines, "predicted_improvement"), _column(lines, "actual_improvement")
    for color, label, values in ((SERIES[0], "predicted", predicted), (SERIES[1], "actual", actual[1:])):
        axes.plot(rounds[: len(values)], values, color=color, marker="o", markersize=3.2, label=label)
    axes.set_ylabel("decrease of the expected cost")
    axes.legend(loc="best")


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> Float[np.ndarray, "R"]:
    return np.array([np.nan if line.get(name) is None else float(line[name]) for line in lines])
