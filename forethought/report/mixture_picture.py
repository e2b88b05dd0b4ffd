"""The plot of a run's Gaussian mixture, or of a textbook example, as a file and as a section of the report.

A component is shown by an ellipse: the points of its marginal distribution that are two standard deviations from its
mean.  Its opacity grows with its weight.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from forethought.core import Problem
from forethought.dynamics.learned import LearnedDynamics
from forethought.models.gmm import GMM
from forethought.models.mixture import Components, FittedGMM
from forethought.report.gp_slices import names_of_data
from forethought.report.model_plot import write_model_plot
from forethought.report.page import Picture, Section
from forethought.report.plan_prediction import names_of_actions
from forethought.report.plots import INK, SERIES, drawn
from forethought.runs.transitions import load_episodes

PANEL = (2.1, 1.7)  # inches
MOST = 8  # rows and columns shown
POINTS = 1500  # rows of data shown


@dataclass(frozen=True)
class Clusters:
    """The components of a mixture over [inputs; outputs], and the data it was fitted to."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    components: Components
    points: Float[np.ndarray, "N D"]


def plot_gmm(run: "str | Path | Any | None" = None, *, out: str | Path = "gmm.svg") -> Path:
    """Plot the components of the learned dynamics of `run`, or without a run a mixture fitted to a curve.

    Args:
        run: a run whose model is a Gaussian mixture, or its directory.
        out: the file, .svg or .png.
    Raises:
        UsageError: the run has no Gaussian mixture or no experience, or there is no directory to write to.
    """
    missing = "fitted Gaussian mixture: train it longer, or with --model gmm"
    return write_model_plot(run, out, textbook=_textbook_picture, of_run=_of_run, missing=missing)


def _of_run(path: Path, problem: Problem | None, image_format: str) -> bytes | None:
    clusters = clusters_of(path, problem)
    return None if clusters is None else clusters_picture(clusters, image_format)


def mixture_sections(path: Path, problem: Problem | None) -> list[Section]:
    """The section of the report of the run at `path`, if its model is a Gaussian mixture."""
    clusters = clusters_of(path, problem)
    if clusters is None:
        return []
    caption = (
        f"The {clusters.components.size} components of the learned dynamics, each output against each input: ellipses "
        "at two standard deviations, darker for components with more weight, over the data."
    )
    shown = min(len(clusters.outputs), MOST), min(len(clusters.inputs), MOST)
    of = len(clusters.outputs), len(clusters.inputs)
    text = [f"Only {shown[0]} of {of[0]} outputs and {shown[1]} of {of[1]} inputs are shown."] if shown != of else []
    return [
        Section("Gaussian mixture", text=text, pictures=[Picture(clusters_picture(clusters), caption, size="wide")])
    ]


def clusters_of(path: Path, problem: Problem | None) -> Clusters | None:
    """What to plot; None if the model is not a Gaussian mixture or there are no data yet."""
    dynamics = getattr(problem, "dynamics", None)
    model = dynamics.model if isinstance(dynamics, LearnedDynamics) else None
    if problem is None or not isinstance(model, FittedGMM) or int(model.rows) == 0:
        return None
    experience = load_episodes(Path(path) / "transitions")
    if not experience:
        return None
    assert isinstance(dynamics, LearnedDynamics)
    steps = jax.tree.map(lambda *parts: np.concatenate(parts), *experience)
    points = np.concatenate([np.asarray(a)[: int(model.rows)] for a in dynamics.data(steps)], axis=1)
    names = names_of_data(dynamics.space, names_of_actions(problem.task, experience[0]), dynamics.n_extra)
    return Clusters(*names, model.mixture.components, points)


def clusters_picture(clusters: Clusters, image_format: str = "svg") -> bytes:
    """A panel for each output (rows) against each input (columns)."""
    rows, columns = min(len(clusters.outputs), MOST), min(len(clusters.inputs), MOST)

    def draw(figure: Figure) -> None:
        panels = figure.subplots(rows, columns, sharex="col", sharey="row", squeeze=False)
        for i in range(rows):
            for j in range(columns):
                _draw(panels[i, j], clusters.components, clusters.points, j, len(clusters.inputs) + i)
            panels[i, 0].set_ylabel(clusters.outputs[i])
        for axes, name in zip(panels[-1], clusters.inputs, strict=False):
            axes.set_xlabel(name)

    return drawn(draw, PANEL[0] * columns + 0.5, PANEL[1] * rows + 0.5, image_format)


def _textbook_picture(image_format: str) -> bytes:
    """200 noisy values of y = sin(z) + z / 4, the components, and p(y | z)."""
    random = np.random.default_rng(1)
    z = random.uniform(-5, 5, (200, 1))
    y = np.sin(z) + 0.25 * z + 0.1 * random.standard_normal(z.shape)
    settings = GMM(rows_per_component=20)
    model, _ = settings.fit(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32), jnp.asarray(200), key=jr.key(0))
    at = np.linspace(-5.5, 5.5, 241)
    mean, std = jax.vmap(lambda z: (model(z).mean[0], model(z).std[0]))(jnp.asarray(at[:, None], jnp.float32))
    low, high = np.asarray(mean - std), np.asarray(mean + std)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.fill_between(at, low, high, color=SERIES[0], alpha=0.2, linewidth=0, label="one standard deviation")
        axes.plot(at, np.asarray(mean), color=SERIES[0], label="mean of p(y given z)")
        _draw(axes, model.mixture.components, np.concatenate([z, y], axis=1), 0, 1, size=8.0)
        axes.set(xlim=(at[0], at[-1]), xlabel="input z", ylabel="output y")
        axes.legend(loc="upper center", ncols=4, bbox_to_anchor=(0.5, 1.14))

    return drawn(draw, 6.4, 3.8, image_format)


def _draw(axes: Axes, mixture: Components, points: Float[np.ndarray, "N D"], x: int, y: int, size: float = 3.0) -> None:
    """Data and components in the plane of the coordinates `x` and `y`."""
    shown = points[np.linspace(0, len(points) - 1, min(len(points), POINTS)).astype(int)]
    axes.scatter(shown[:, x], shown[:, y], size, INK, alpha=0.35, linewidths=0, label="data")
    darkest = mixture.weights.max()
    for number, (weight, mean, cov) in enumerate(zip(*mixture, strict=True)):
        values, vectors = np.linalg.eigh(cov[np.ix_([x, y], [x, y])])
        width, height = 4 * np.sqrt(np.maximum(values, 0))
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        look: dict[str, Any] = {"edgecolor": SERIES[1], "facecolor": "none", "linewidth": 1.2, "zorder": 3}
        look |= {"alpha": 0.25 + 0.75 * weight / darkest, "label": None if number else "components"}
        axes.add_patch(Ellipse((mean[x], mean[y]), width, height, angle=angle, **look))
