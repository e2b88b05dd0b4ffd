"""Where in state space data are missing: states that the model is asked about, far from all data it was fitted to.

The distance of two states is Euclidean over their features (sines and cosines of angles), each divided by its standard
deviation in the data.  A state is far from the data if its nearest data point is farther away than that of 95% of the
data points themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from forethought.dynamics.space import StateSpace
from forethought.report.page import Picture, Section, Table
from forethought.report.plots import MUTED, SERIES, picture

TYPICAL = 0.95  # share of the data that have a neighbor within the distance that counts as near
ROWS = 4000  # of the data, at most, evenly spread


@dataclass(frozen=True)
class Gaps:
    """Which of Q queried states are far from the N data points."""

    data: Float[np.ndarray, "N n"]
    asked: Float[np.ndarray, "Q n"]
    far: Bool[np.ndarray, "Q"]
    distance: Float[np.ndarray, "Q"]  # to the nearest data point, in units of the distance that counts as near
    offset: Float[np.ndarray, "Q f"]  # from the nearest data point, in standardized features

    @property
    def share(self) -> float:
        """Share of the queried states that are far from the data."""
        return float(self.far.mean()) if len(self.far) else float("nan")


def gaps(space: StateSpace, data: Float[np.ndarray, "N n"], asked: Float[np.ndarray, "Q n"]) -> Gaps:
    """Compare the states `asked` with those of the data."""
    data = np.asarray(data)[np.unique(np.linspace(0, len(data) - 1, min(ROWS, len(data))).astype(int))]
    asked = np.asarray(asked)
    asked = asked[np.isfinite(asked).all(1)]
    known, new = (np.asarray(jax.vmap(space.features)(jnp.asarray(rows)), np.float64) for rows in (data, asked))
    std = known.std(0)
    scale = np.where(std > 1e-6 * np.maximum(1, np.abs(known).max(0)), std, 1)
    from scipy.spatial import cKDTree  # changes the warning filters, so it is imported where it is needed

    tree = cKDTree(known / scale)
    among = tree.query(known / scale, k=2)[0][:, -1] if len(known) > 1 else np.ones(1)
    near = max(float(np.quantile(among, TYPICAL)), 1e-12)
    distance, place = tree.query(new / scale)
    return Gaps(data, asked, distance > near, distance / near, (new - known[place]) / scale)


def gaps_section(found: Gaps, space: StateSpace, what: str, remedy: str) -> Section:
    """A picture of the two coordinates in which the far states differ most from the data, and ranges as a table.

    Args:
        found: the comparison.
        space: of the states.
        what: the states that were asked about: "planned".
        remedy: a sentence on what to change.
    """
    share, names = 100 * found.share, space.names
    text = [
        f"{share:.0f}% of the {len(found.far)} {what} states are far from the data: farther than 95% of the data "
        f"points are from their nearest neighbor. {remedy if share > 10 else ''}".strip()
    ]
    rows = []
    for i, name in enumerate(names):
        low, high = found.data[:, i].min(), found.data[:, i].max()
        outside = 100 * np.mean((found.asked[:, i] < low) | (found.asked[:, i] > high)) if len(found.asked) else 0.0
        span = (found.asked[:, i].min(), found.asked[:, i].max()) if len(found.asked) else (np.nan, np.nan)
        cells = (f"{low:.3g} to {high:.3g}", f"{span[0]:.3g} to {span[1]:.3g}")
        rows.append([name, *cells, "-" if i in space.angles else f"{outside:.0f}%"])
    head = ("coordinate", "range of the data", f"range of the {what} states", "outside the range")
    pictures = []
    if space.size > 1 and len(found.asked):
        i, j = _pair(found, space)
        caption = f"Data (gray), {what} states near the data (blue) and far from them (orange)."
        pictures = [Picture(gaps_map(found, (i, j), (names[i], names[j])), caption)]
    return Section("Where data are missing", text=text, pictures=pictures, table=Table(head, rows))


def _pair(found: Gaps, space: StateSpace) -> tuple[int, int]:
    """The two coordinates in which the far states (all states, if none is far) differ most from the data."""
    chosen = found.offset[found.far] if found.far.any() else found.offset
    size = np.sqrt(np.mean(chosen**2, axis=0))
    plain = [i for i in range(space.size) if i not in space.angles]
    waves = len(space.angles)
    by_coordinate = dict(zip(plain, size[: len(plain)], strict=True))
    for k, i in enumerate(space.angles):
        by_coordinate[i] = float(np.hypot(size[len(plain) + k], size[len(plain) + waves + k]))
    first, second = sorted(by_coordinate, key=lambda i: -by_coordinate[i])[:2]
    return min(first, second), max(first, second)


@picture()
def gaps_map(axes: Axes, found: Gaps, pair: tuple[int, int], names: Sequence[str]) -> None:
    """Two coordinates of the data and of the queried states."""
    i, j = pair
    axes.scatter(found.data[:, i], found.data[:, j], s=5, color=MUTED, alpha=0.35, linewidths=0, label="data")
    for far, color, label in ((False, SERIES[0], "near"), (True, SERIES[1], "far")):
        rows = found.asked[found.far == far]
        if len(rows):
            axes.scatter(rows[:, i], rows[:, j], s=9, color=color, linewidths=0, label=label)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.legend(loc="best")
