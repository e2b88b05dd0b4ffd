"""Sections on a model's prediction error by horizon and on its calibration."""

from collections.abc import Sequence

import numpy as np

from forethought.report import plots
from forethought.report.diagnostics import LEVELS, Calibration, ModelError
from forethought.report.page import Picture, Section, Table

OPEN_LOOP = "From start points along these episodes, the model predicts open loop under the actions that were executed."


def error_sections(
    error: ModelError, calibration: Calibration, dt: float, names: Sequence[str], measured_on: str
) -> list[Section]:
    """The two sections.

    Args:
        error: of the model, by steps ahead.
        calibration: of its predictions.
        dt: s per step.
        names: of the coordinates.
        measured_on: a sentence on the episodes that the error was measured on.
    """
    horizon = error.horizon
    steps = sorted({1, (horizon + 1) // 2, horizon})
    errors = [
        Picture(
            plots.error_by_horizon(error, dt),
            "Root-mean-square prediction error over the coordinates, each divided by its standard deviation in the "
            f"data (1 is about as bad as guessing), from {error.count[0]} start points. Orange: the standard deviation "
            "of the model's particles; it equals the error (blue) where the model's uncertainty is right.",
        ),
        Picture(
            plots.error_by_coordinate(error, names),
            "The same error for each coordinate, largest first.",
        ),
    ]
    numbers = ", ".join(f"{100 * calibration.error(step):.1f} at {step}" for step in steps)
    honest = [
        Picture(
            plots.reliability(calibration, steps),
            "Share of observed values inside the model's central prediction intervals (observed coverage) against the "
            "intervals' probability (nominal coverage). Below the diagonal the model is overconfident. Mean distance "
            f"from the diagonal in percentage points: {numbers} steps ahead.",
        ),
        Picture(
            plots.pit_histogram(calibration, 1),
            "Probability integral transform, one step ahead: the predicted probability of a value below the observed "
            "one. Flat: calibrated. U-shaped: overconfident. Hump-shaped: underconfident. Sloped: biased.",
        ),
    ]
    held = {step: np.interp((0.5, 0.8, 0.9, 0.95), LEVELS, calibration.pooled(step)) for step in steps}
    coverage = Table(
        ("steps ahead", "inside the 50% interval", "80%", "90%", "95%"),
        [[str(step), *(f"{100 * share:.0f}%" for share in shares)] for step, shares in held.items()],
    )
    return [
        Section("Model error by horizon", text=[f"{measured_on} {OPEN_LOOP}"], pictures=errors),
        Section(
            "Calibration",
            ["How often observed values lie within the model's prediction intervals."],
            pictures=honest,
            table=coverage,
        ),
    ]
