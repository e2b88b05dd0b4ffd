"""Pictures are files with their text in them, the same for the same data, and leave no trace in matplotlib."""

import subprocess
import sys

import matplotlib
import matplotlib._pylab_helpers
import numpy as np
import pytest

from forethought.report import plots
from forethought.report.curves import Baseline
from tests.report.test_curves import curve
from tests.report.test_hints import calibration, model_error

ONE = curve([10, 20, 30], [1, np.nan, 3], [False, False, True])
BANDS = [(0, np.zeros((3, 4))), (2, np.full((1, 9), 0.5))]
PICTURES = {
    "learning curve": (
        plots.learning_curve,
        (ONE, Baseline((0.0, 2.0))),
        ["random actions", "environment steps", "solved"],
    ),
    "model error": (plots.model_error_curve, (ONE,), ["model error"]),
    "horizon": (plots.error_by_horizon, (model_error([0.01, np.inf, 3.0]), 0.1), ["seconds ahead", "predicted error"]),
    "coordinates": (plots.error_by_coordinate, (model_error([0.1, 0.2]), ["height", "reward"]), ["height", "2 steps"]),
    "reliability": (plots.reliability, (calibration(2.0), [1]), ["1 step ahead", "overconfident"]),
    "pit": (plots.pit_histogram, (calibration(1.0), 1), ["density"]),
    "plan": (plots.plan_against_reality, (np.zeros(5), BANDS, 0.1, "height (m)"), ["height (m)", "time (s)"]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name):
    draw, data, words = PICTURES[name]
    before = dict(matplotlib.rcParams)
    svg = draw(*data)
    assert svg.startswith(b"<?xml") and svg == draw(*data)
    for word in words:
        assert word in svg.decode(), word
    assert dict(matplotlib.rcParams) == before
    assert matplotlib._pylab_helpers.Gcf.figs == {}  # pyplot holds on to none of them


def test_png():
    assert plots.learning_curve(ONE, image_format="png").startswith(b"\x89PNG")


def test_a_round_without_any_number_is_drawn_empty():
    nothing = curve([10, 20], [np.nan, np.nan])
    assert plots.learning_curve(nothing) and plots.model_error_curve(nothing)


def test_importing_the_package_loads_no_large_package():
    heavy = "{'jax', 'matplotlib', 'jinja2', 'imageio_ffmpeg', 'numpy'}"
    code = (
        f"import sys, forethought.report as r; assert not {heavy} & sys.modules.keys(); assert callable(r.record_video)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
