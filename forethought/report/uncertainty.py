"""Whether the model's uncertainty grows with its error, and recalibration with its effect on other episodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from forethought.core import Dynamics, Transition
from forethought.dynamics.recalibration import one_step_predictions
from forethought.dynamics.space import StateSpace
from forethought.models.recalibration import calibration_error, temperatures
from forethought.report.page import Picture, Section, Table
from forethought.report.plots import MUTED, SERIES, picture

BINS = 10  # of predicted standard deviations, with equally many predictions each
FEWEST = 20  # steps for a temperature


@dataclass(frozen=True)
class Uncertainty:
    """One-step predictions of N steps, and the effect of a temperature that is fitted to every second episode."""

    residual: Float[np.ndarray, "N n"]  # real minus predicted state; angles wrapped
    std: Float[np.ndarray, "N n"]  # predicted
    scale: Float[np.ndarray, "n"]  # spread of the changes; 0 marks a coordinate that never changes
    correlation: Float[
        np.ndarray, "n"
    ]  # rank correlation of predicted std and absolute error; NaN where one is constant
    temperature: Float[np.ndarray, "n"]
    before: Float[np.ndarray, "n"]  # expected calibration error on the episodes that the temperature was not fitted to
    after: Float[np.ndarray, "n"]

    @property
    def moving(self) -> np.ndarray:
        """Indices of the coordinates that change."""
        return np.flatnonzero(self.scale > 0)

    @property
    def pooled_correlation(self) -> float:
        """Mean rank correlation over coordinates; NaN where it is not defined for any."""
        known = self.correlation[np.isfinite(self.correlation)]
        return float(known.mean()) if known.size else float("nan")


def uncertainty(dynamics: Dynamics, space: StateSpace, episodes: Sequence[Transition]) -> Uncertainty:
    """Examine one-step predictions on real episodes, each with leading axis [T].

    The temperature is fitted to every second episode and tested on the others; a single episode is split in half.
    """
    parts, starts = list(episodes), [0] * len(episodes)
    if len(parts) == 1 and len(parts[0]) > 1:
        half = len(parts[0]) // 2
        parts = [jax.tree.map(lambda a, s=s: a[s], parts[0]) for s in (slice(half), slice(half, None))]
        starts = [0, half]
    found = [one_step_predictions(dynamics, space, part, start=t) for part, t in zip(parts, starts, strict=True)]
    residual, std = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
    fitted = np.concatenate([np.full(len(pair[0]), i % 2 == 0) for i, pair in enumerate(found)])
    change = np.concatenate(
        [np.asarray(jax.vmap(space.difference)(part.x_next, part.x)) for part in parts if len(part)]
    )
    spread = change.std(0)
    scale = np.where(spread > 1e-6 * np.maximum(1, np.abs(change).max(0)), spread, 0)
    enough = fitted.sum() >= FEWEST and (~fitted).sum() >= FEWEST
    temperature = temperatures(residual[fitted], std[fitted]) if enough else np.full(space.size, np.nan)
    before = calibration_error(residual[~fitted], std[~fitted])
    after = calibration_error(residual[~fitted], temperature[None] * std[~fitted]) if enough else before * np.nan
    correlation = np.array([_rank_correlation(std[:, i], np.abs(residual[:, i])) for i in range(space.size)])
    return Uncertainty(residual, std, scale, correlation, temperature, before, after)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    from scipy.stats import spearmanr  # changes the warning filters, so it is imported where it is needed

    return float(spearmanr(a, b).statistic)


def uncertainty_section(found: Uncertainty, names: Sequence[str], measured_on: str) -> Section:
    """A picture of error against predicted error, and a table of temperatures with their effect."""
    rows = [
        [names[i], *(_shown(column[i]) for column in (found.correlation, found.temperature, found.before, found.after))]
        for i in found.moving
    ]
    head = ("coordinate", "rank correlation", "temperature", "calibration error before", "after")
    text = [
        f"{measured_on} Rank correlation of the predicted standard deviation and the absolute error one step ahead: 1 "
        "if the model knows where it is wrong, 0 if its uncertainty says nothing about its errors.",
        "The temperature is a factor on the predicted standard deviation: below 1 the model was underconfident, above "
        "1 overconfident. It is fitted to every second episode; the expected calibration errors (0 is perfect, 0.5 the "
        "worst) are measured on the others. `forethought fit --recalibrate true` fits a model with temperatures.",
    ]
    caption = (
        "Predictions in ten groups of increasing predicted standard deviation: their root-mean-square error, all in "
        "units of the spread of the changes. On the dashed line the uncertainty equals the error."
    )
    pictures = [Picture(error_against_uncertainty(found), caption)]
    return Section("Does uncertainty grow with error?", text=text, pictures=pictures, table=Table(head, rows))


@picture()
def error_against_uncertainty(axes: Axes, found: Uncertainty) -> None:
    """Root-mean-square error against the predicted standard deviation, in bins; a line for all coordinates together."""
    moving = found.moving
    std = (found.std[:, moving] / found.scale[moving]).ravel()
    error = (found.residual[:, moving] / found.scale[moving]).ravel()
    known = np.isfinite(std) & np.isfinite(error) & (std > 0)
    order = np.argsort(std[known])
    groups = [group for group in np.array_split(order, BINS) if group.size]
    predicted = [np.sqrt(np.mean(std[known][group] ** 2)) for group in groups]
    real = [np.sqrt(np.mean(error[known][group] ** 2)) for group in groups]
    if predicted:
        low, high = min(predicted + real), max(predicted + real)
        axes.plot(
            [low, high], [low, high], color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="error = uncertainty"
        )
        axes.plot(predicted, real, color=SERIES[0], marker="o", markersize=4, label="model")
        if low > 0 and high > 10 * low:
            axes.set(xscale="log", yscale="log")
        axes.legend(loc="upper left")
    axes.set_xlabel("predicted standard deviation")
    axes.set_ylabel("root-mean-square error")


def _shown(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"
