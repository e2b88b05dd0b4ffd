"""Sections on what a learned model has learned: the inputs that its predictions depend on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Dynamics, Transition
from forethought.report.page import Picture, Section
from forethought.report.plan_prediction import names_of_actions
from forethought.report.sensitivity import sensitivity, sensitivity_map

NEGLIGIBLE = 0.01  # share of the variance below which an input counts as unused
MOST = 24  # coordinates of a state that are shown as a map


def input_section(dynamics: Dynamics, env: Any, episodes: Sequence[Transition], *, key: PRNGKeyArray) -> Section:
    """Which inputs each predicted change depends on, as a map, and the inputs that nothing depends on."""
    x, u = (np.concatenate([getattr(episode, name) for episode in episodes]) for name in ("x", "u"))
    if getattr(dynamics, "n_extra", 0):
        x = np.pad(x, ((0, 0), (0, dynamics.n_extra)))  # type: ignore[attr-defined]
    shares = sensitivity(dynamics, env.space, x, u, key=key)
    n, outputs = env.space.size, list(env.space.names)
    shares = np.concatenate([shares[:, :n], shares[:, x.shape[1] :]], axis=1)  # without the learned reward
    inputs = [*outputs, *names_of_actions(env.task, episodes[0])]
    text = [
        "Share of the variance of each predicted change that needs an input: 0 if the input has no effect, 1 if the "
        "change depends on it alone. Inputs that interact are both counted, so a row may add up to more than 1."
    ]
    unused = [name for name, column in zip(inputs, shares.T, strict=True) if column.max() < NEGLIGIBLE]
    points = [f"No predicted change depends on {name} (all shares below {NEGLIGIBLE:g})." for name in unused]
    pictures = [Picture(sensitivity_map(shares, outputs, inputs), size="wide")] if n <= MOST else []
    return Section("Inputs that each output depends on", text=text, points=points, pictures=pictures)
