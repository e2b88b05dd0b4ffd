"""A policy as its model imagines it (a Gaussian over states and actions at every step) against what was executed."""

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
from forethought.report.plan_prediction import unwrapped
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
    """One coordinate over the horizon, and what happened to it."""

    name: str
    mean: Float[np.ndarray, "S"]
    std: Float[np.ndarray, "S"]
    recorded: Sequence[np.ndarray]  # of the training's last trials, each as long as it was
    fresh: Sequence[np.ndarray]


@dataclass(frozen=True)
class Prophecy:
    """Everything that is drawn."""

    bands: Sequence[Band]
    dt: float
    expected: Float[np.ndarray, "R"]  # cost of each round's trial, before it; NaN where nothing was expected
    real: Float[np.ndarray, "R"]

    @property
    def inside(self) -> float:
        """Share of the fresh episodes' values within the bands; 0.954 of them should be."""
        shares = [
            np.abs(one - band.mean[: len(one)]) <= STDS * band.std[: len(one)] + 1e-9
            for band in self.bands
            for one in band.fresh
        ]
        return float(np.mean(np.concatenate(shares))) if shares else float("nan")


def plot_imagined(run: "str | Path | Any", *, out: str | Path, episodes: int = FRESH) -> Path:
    """Draw what `run`'s model expects of its policy, the last trials, and some fresh episodes.

    Args:
        run: a run whose algorithm imagines distributions (PILCO), or its directory.
        out: the file, .svg or .png.
        episodes: fresh ones.
    Raises:
        UsageError: the algorithm imagines nothing of the kind, or there is no directory to write to.
    """
    target = Path(out)
    if not target.parent.is_dir():
        raise UsageError(f"plot: there is no directory '{target.parent}'.")
    run = load(run) if isinstance(run, str | Path) else run
    if not hasattr(run.algorithm, "prediction"):
        raise UsageError(f"plot: the algorithm of {run.path} imagines no distributions; pilco does.")
    prophecy = prophecy_of(run, run.evaluate(episodes=episodes).trajectories)
    write_whole(target, imagined_picture(prophecy, target.suffix.removeprefix(".") or "svg"))
    return target


def imagined_sections(run: Any, fresh: Sequence[Transition]) -> list[Section]:
    """For the page about `run`: one section where its algorithm imagines distributions, else none."""
    if not hasattr(run.algorithm, "prediction"):
        return []
    prophecy = prophecy_of(run, fresh)
    caption = (
        "Blue: the distribution of states and actions that the model expects under the policy, mean and two standard "
        "deviations. Black: fresh episodes under the same policy. Grey: the last trials of the training, run by the "
        f"policies before it. Of the fresh episodes' values {100 * prophecy.inside:.0f} % are within the band (95 % "
        "should be). Last panel: what each trial cost, and what was expected of it before it ran; the expectation "
        "counts the steps that the search looked ahead, which may be others than the trial's."
    )
    return [Section("Imagined and executed", pictures=[Picture(imagined_picture(prophecy), caption, size="wide")])]


def prophecy_of(run: Any, fresh: Sequence[Transition]) -> Prophecy:
    """The prediction from `run`'s model, with the run's last episodes and `fresh` ones."""
    env = run.env
    seen = run.algorithm.prediction(run.state)
    recorded = load_episodes(Path(run.path) / "transitions")[-RECORDED:]
    fresh = fresh[:FRESH]
    bands = []
    xs, us = _moments(seen.states), _moments(seen.actions)
    for i in range(env.space.size):
        paths = [[unwrapped(env.space, episode)[:, i] for episode in some] for some in (recorded, fresh)]
        name = f"x[{i}] (rad)" if i in env.space.angles else f"x[{i}]"
        bands.append(Band(name, xs[0][:, i], xs[1][:, i], *paths))
    for j in range(us[0].shape[1]):
        paths = [[np.asarray(episode.u[:, j]) for episode in some] for some in (recorded, fresh)]
        bands.append(Band(f"action u[{j}]", us[0][:, j], us[1][:, j], *paths))
    numbers = [[line.get("expected_cost"), _negative(line.get("return"))] for line in run.metrics]
    expected, real = np.array(numbers, dtype=float).reshape(-1, 2).T
    return Prophecy(bands, float(env.task.dt), expected, real)


def _moments(stacked: Any) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations [T, n] of a stack of Gaussians."""
    variances = np.diagonal(np.asarray(stacked.cov), axis1=1, axis2=2)
    return np.asarray(stacked.mean), np.sqrt(np.maximum(variances, 0))


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def imagined_picture(prophecy: Prophecy, image_format: str = "svg") -> bytes:
    """A panel for each coordinate and action, and one for costs."""
    bands = prophecy.bands[:PANELS]
    rows = -(-(len(bands) + 1) // COLUMNS)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for band, axes in zip(bands, panels, strict=False):
            _draw_band(axes, band, prophecy.dt)
        _draw_costs(panels[len(bands)], prophecy)
        for axes in panels[len(bands) + 1 :]:
            axes.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)

    return drawn(draw, PANEL[0] * COLUMNS, PANEL[1] * rows + 0.4, image_format)


def _draw_band(axes: Axes, band: Band, dt: float) -> None:
    seconds = dt * np.arange(len(band.mean))
    low, high = band.mean - STDS * band.std, band.mean + STDS * band.std
    label = "imagined: two standard deviations"
    axes.fill_between(seconds, low, high, color=SERIES[0], alpha=0.25, linewidth=0, label=label)
    axes.plot(seconds, band.mean, color=SERIES[0], linewidth=1.4, label="its mean")
    kinds = ((band.recorded, MUTED, "last trials (earlier policies)"), (band.fresh, INK, "fresh episodes"))
    for paths, color, name in kinds:
        for number, path in enumerate(paths):
            named: dict[str, Any] = {} if number else {"label": name}
            axes.plot(dt * np.arange(len(path)), path, color=color, linewidth=0.8, **named)
    axes.set(xlabel="time (s)", ylabel=band.name)
    axes.margins(x=0.02)


def _draw_costs(axes: Axes, prophecy: Prophecy) -> None:
    rounds = np.arange(1, len(prophecy.real) + 1)
    axes.plot(rounds, prophecy.expected, color=SERIES[0], marker="o", markersize=4, label="expected")
    axes.plot(rounds, prophecy.real, color=INK, marker="o", markersize=4, linewidth=1.0, label="real")
    axes.set(xlabel="round", ylabel="cost of the trial")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="best")
