"""How well the constraints of a task are kept: in the new episodes, and in each round of training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from forethought.core.constraints import risk_of
from forethought.envs.violations import Violations
from forethought.report.page import Picture, Section
from forethought.report.plots import MUTED, SERIES, picture


def constraint_sections(
    task: Any, violations: Violations | None, metrics: Sequence[Mapping[str, Any]]
) -> list[Section]:
    """The count in the new episodes, and the largest value of each round; nothing for a task without constraints."""
    if violations is None:
        return []
    steps = getattr(task, "constraint_steps", None)
    judged = "any of its steps" if steps is None else f"any of its first {steps} steps"
    text = [
        f"Constraints, whose values must not be positive, were {violations}.",
        f"A plan may violate them in {judged} with a probability of {risk_of(task):g} (--risk), by the model's own "
        "uncertainty; a model that is surer than it is right breaks this promise.",
    ]
    if violations.episodes / violations.total > max(risk_of(task), 1 / violations.total):
        text.append(
            "That is more often than the risk allows: the model is too sure (see the coverage of its predictions), or "
            "plans end before the limit is reached (--planner.horizon, --constraint-steps)."
        )
    known = [line for line in metrics if line.get("largest_violation") is not None]
    pictures = []
    if known:
        bad = sum(line["violated_episodes"] for line in known)
        caption = (
            f"Largest value of a constraint in each round; above 0 it is violated. Training: {bad} episodes did so."
        )
        pictures.append(Picture(largest_by_round(known), caption))
    return [Section("Constraints", text=text, pictures=pictures)]


@picture()
def largest_by_round(axes: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
    """The largest constraint value of each round, against environment steps."""
    steps = [line["env_steps"] for line in metrics]
    values = np.array([line["largest_violation"] for line in metrics], float)
    axes.axhline(0, color=MUTED, linewidth=1.0)
    axes.plot(steps, values, color=SERIES[0], marker="o", markersize=3)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("largest constraint value")
