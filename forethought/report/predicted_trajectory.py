"""The trajectory that a model predicts under the policy (a Gaussian at every step), compared with executed ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forethought.core import Transition, UsageError
from forethought.report.page import Picture, Section
from forethought.report.plan_prediction import names_of_actions, unwrapped
from forethought.report.plots import INK, MUTED, SERIES, drawn
from forethought.runs.files import write_whole
from forethought.runs.run import load
from forethought.runs.transitions import load_episodes

PANEL = (3.1, 2.1)  # inches
COLUMNS = 3
PANELS = 12  # coordinates and actions shown, at most
RECORDED, FRESH = 3, 3  # episodes drawn
STDS = 2.0  # of the band


@dataclass(frozen=True)
class Band:
    """One coordinate over the horizon: the prediction, and episodes."""

    name: str
    mean: Float[np.ndarray, "T1"]
    std: Float[np.ndarray, "T1"]
    recorded: Sequence[np.ndarray]  # the last training trials, each of its own length
    fresh: Sequence[np.ndarray]  # new episodes under the policy


@dataclass(frozen=True)
class Prediction:
    """Everything that the picture shows."""

    bands: Sequence[Band]
    dt: float
    expected: Float[np.ndarray, "R"]  # predicted cost of each round's trial; NaN where there is none
    real: Float[np.ndarray, "R"]

    @property
    def inside(self) -> float:
        """Share of the new episodes' values within the bands; 0.954 for a calibrated model."""
        shares = [
            np.abs(one - band.mean[: len(one)]) <= STDS * band.std[: len(one)] + 1e-9
            for band in self.bands
            for one in band.fresh
        ]
        return float(np.mean(np.concatenate(shares))) if shares else float("nan")


def plot_prediction(run: "str | Path | Any", *, out: str | Path, episodes: int = FRESH) -> Path:
    """Draw the trajectory that `run`'s model predicts under its policy, the last trials, and some new episodes.

    Args:
        run: a run whose algorithm predicts distributions of trajectories (PILCO), or its directory.
        out: the file, .svg or .png.
        episodes: number of new episodes.
    Raises:
        UsageError: the algorithm predicts no such distributions, or there is no directory to write to.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"plot: there is no directory '{target.parent}'.")
    run = load(run) if isinstance(run, str | Path) else run
    if not _predicts(run):
        raise UsageError(f"plot: the algorithm of {run.path} predicts no distributions of trajectories; pilco does.")
    prediction = prediction_of(run, run.evaluate(episodes=episodes).trajectories)
    write_whole(target, prediction_picture(prediction, target.suffix.removeprefix(".") or "svg"))
    return target


def prediction_sections(run: Any, fresh: Sequence[Transition]) -> list[Section]:
    """The section of the report of `run`, if its algorithm predicts distributions of trajectories."""
    if not _predicts(run):
        return []
    prediction = prediction_of(run, fresh)
    caption = (
        "Blue: the states and actions that the model predicts under the policy, mean and two standard deviations. "
        "Black: new episodes under the same policy. Gray: the last training trials, under earlier policies. "
        f"{100 * prediction.inside:.0f}% of the values of the new episodes lie within the band (95% for a calibrated "
        "model). Last panel: the cost of each trial, predicted before it and observed."
    )
    return [
        Section(
            "Predicted and executed trajectories",
            pictures=[Picture(prediction_picture(prediction), caption, size="wide")],
        )
    ]


def prediction_of(run: Any, fresh: Sequence[Transition]) -> Prediction:
    """The prediction of `run`'s model, with the run's last trials and `fresh` episodes."""
    env = run.env
    predicted = run.algorithm.prediction(run.state)
    recorded = load_episodes(Path(run.path) / "transitions")[-RECORDED:]
    fresh = fresh[:FRESH]
    bands = []
    xs, us = _moments(predicted.states), _moments(predicted.actions)
    for i in range(env.space.size):
        paths = [[unwrapped(env.space, episode)[:, i] for episode in some] for some in (recorded, fresh)]
        bands.append(Band(env.space.names[i], xs[0][:, i], xs[1][:, i], *paths))
    for j, name in enumerate(names_of_actions(env.task, fresh[0] if fresh else recorded[-1])):
        paths = [[np.asarray(episode.u[:, j]) for episode in some] for some in (recorded, fresh)]
        bands.append(Band(name, us[0][:, j], us[1][:, j], *paths))
    numbers = [[line.get("expected_cost"), _negative(line.get("return"))] for line in run.metrics]
    expected, real = np.array(numbers, dtype=float).reshape(-1, 2).T
    return Prediction(bands, float(env.task.dt), expected, real)


def _predicts(run: Any) -> bool:
    return hasattr(run.algorithm, "prediction")


def _moments(stacked: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations [T, n] of a stack of Gaussians."""
    variances = np.diagonal(np.asarray(stacked.cov), axis1=1, axis2=2)
    return np.asarray(stacked.mean), np.sqrt(np.maximum(variances, 0))


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def prediction_picture(prediction: Prediction, image_format: str = "svg") -> bytes:
    """A panel for each coordinate and action, and one for costs."""
    bands = prediction.bands[:PANELS]
    rows = -(-(len(bands) + 1) // COLUMNS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for band, axes in zip(bands, panels, strict=False):
            _draw_band(axes, band, prediction.dt)
        _draw_costs(panels[len(bands)], prediction)
        for axes in panels[len(bands) + 1 :]:
            axes.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)

    return drawn(draw, PANEL[0] * COLUMNS, PANEL[1] * rows + 0.4, image_format)


def _draw_band(axes: Axes, band: Band, dt: float) -> None:
    seconds = dt * np.arange(len(band.mean))
    low, high = band.mean - STDS * band.std, band.mean + STDS * band.std
    label = "predicted, two standard deviations"
    axes.fill_between(seconds, low, high, color=SERIES[0], alpha=0.25, linewidth=0, label=label)
    axes.plot(seconds, band.mean, color=SERIES[0], linewidth=1.4, label="predicted mean")
    kinds = ((band.recorded, MUTED, "last training trials"), (band.fresh, INK, "new episodes"))
    for paths, color, name in kinds:
        for number, path in enumerate(paths):
            named: dict[str, Any] = {} if number else {"label": name}
            axes.plot(dt * np.arange(len(path)), path, color=color, linewidth=0.8, **named)
    axes.set(xlabel="time (s)", ylabel=band.name)
    axes.margins(x=0.02)


def _draw_costs(axes: Axes, prediction: Prediction) -> None:
    rounds = np.arange(1, len(prediction.real) + 1)
    axes.plot(rounds, prediction.expected, color=SERIES[0], marker="o", markersize=4, label="predicted")
    axes.plot(rounds, prediction.real, color=INK, marker="o", markersize=4, linewidth=1.0, label="observed")
    axes.set(xlabel="round", ylabel="cost of the trial")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="best")
