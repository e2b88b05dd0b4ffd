"""Pages of the docs from saved results: tables between two marks, figures, and intervals over seeds.

A table stands between the lines `<!-- table: NAME -->` and `<!-- end of table -->` of its page.  Intervals are 95%
bootstrap intervals over seeds.
"""

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from common import ROOT
from matplotlib.figure import Figure

DOCS = ROOT / "docs"
IMAGES = DOCS / "img"
REPS = 2000  # bootstrap resamples


def put_table(page: Path, name: str, rows: Sequence[Sequence[str]]) -> None:
    """Replace what is between the two marks of a table; a page without the mark is left as it is."""
    whole, mark = page.read_text(), f"<!-- table: {name} -->\n"
    if mark not in whole:
        return
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    text = "\n".join([head, "|" + "---|" * len(rows[0]), *body, ""])
    start = whole.index(mark) + len(mark)
    page.write_text(whole[:start] + text + whole[whole.index("<!-- end of table -->", start) :])


def save_figure(name: str, draw: Callable[[Figure], None], *, width: float = 11, height: float = 3.3) -> None:
    """A figure for the docs, `docs/img/NAME.svg`; the same file from the same results."""
    figure = Figure(figsize=(width, height), layout="constrained")
    draw(figure)
    IMAGES.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})


def interval_text(values: list[float], digits: int = 3) -> str:
    """Mean over seeds and its bootstrap interval."""
    rng = np.random.default_rng(0)
    means = [np.mean(rng.choice(values, len(values))) for _ in range(REPS)]
    low, high = np.quantile(means, [0.025, 0.975])
    mean, low, high = (_number(float(value), digits) for value in (np.mean(values), low, high))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def _number(value: float, digits: int) -> str:
    """A few digits; all those before the decimal point of large numbers."""
    return f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def median_text(values: list[float]) -> str:
    """The median; a dash for nothing."""
    return f"{statistics.median(values):.2g}" if values else "-"


def steps_text(steps: list[int | None], most: int = 0) -> str:
    """Median and range of those that solved it, and how many did."""
    known = sorted(one for one in steps if one is not None)
    if not known:
        return f"none within {most:,}" if most else "none"
    text = f"{statistics.median(known):,.0f} ({known[0]:,} - {known[-1]:,})"
    return text if len(known) == len(steps) else f"{text}, {len(known)} of {len(steps)}"


def unique(values: Iterable[Any]) -> list[Any]:
    """In order of first appearance."""
    return list(dict.fromkeys(values))
