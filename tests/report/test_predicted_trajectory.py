"""Predicted trajectories beside executed ones: the numbers that are plotted, and where they are shown."""

import re
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from forethought.cli.main import main
from forethought.core import UsageError
from forethought.report import plot_prediction
from forethought.report.predicted_trajectory import RECORDED, prediction_of, prediction_picture, prediction_sections
from forethought.runs.transitions import save_episode
from tests.report.fakes import FakePlanning, episodes_of, fake_run, oscillator

STEPS = 20


@dataclass(frozen=True)
class Predicting(FakePlanning):
    """Predicts mean 0 and standard deviation 2 for every coordinate."""

    def prediction(self, state):
        cov = np.broadcast_to(np.diag([4.0, 4.0]), (STEPS + 1, 2, 2))
        states = SimpleNamespace(mean=np.zeros((STEPS + 1, 2)), cov=cov)
        return SimpleNamespace(states=states, actions=SimpleNamespace(mean=np.zeros((STEPS, 1)), cov=cov[1:, :1, :1]))


@pytest.fixture
def run(tmp_path):
    (tmp_path / "transitions").mkdir()
    for number, episode in enumerate(episodes_of(oscillator(), count=5, steps=STEPS - 5)):
        save_episode(tmp_path / "transitions", number + 1, episode, {})
    run = fake_run(tmp_path, algorithm=Predicting(oscillator()), rounds=3)
    run.metrics[1]["expected_cost"] = 25.0
    return run


def test_bands_costs_and_episodes(run):
    fresh = episodes_of(oscillator(), count=4, steps=STEPS)
    prediction = prediction_of(run, fresh)
    assert [band.name for band in prediction.bands] == ["x[0]", "x[1]", "u[0]"]
    first, action = prediction.bands[0], prediction.bands[2]
    np.testing.assert_array_equal(first.std, np.full(STEPS + 1, 2.0))
    assert len(first.recorded) == RECORDED and len(first.recorded[0]) == STEPS - 4 and len(action.fresh[0]) == STEPS
    np.testing.assert_array_equal(first.fresh[0], np.append(fresh[0].x[:, 0], fresh[0].x_next[-1, 0]))
    np.testing.assert_array_equal(prediction.expected, [np.nan, 25.0, np.nan])
    np.testing.assert_array_equal(prediction.real, [30.0, 26.0, 22.0])
    assert prediction.inside == 1.0  # four standard deviations of the start, and actions within 1


def test_the_page_and_the_command_show_it(run, tmp_path, monkeypatch):
    (section,) = prediction_sections(run, episodes_of(oscillator(), count=2, steps=STEPS))
    (picture,) = section.pictures
    assert "100% of the values of the new episodes" in picture.caption
    words = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg.decode())
    assert {"x[0]", "u[0]", "cost of the trial", "new episodes"} <= set(words)
    assert prediction_picture(prediction_of(run, []), "png").startswith(b"\x89PNG")
    monkeypatch.setattr("forethought.report.predicted_trajectory.load", lambda path: run)
    for word in ("prediction", "imagined"):  # the second is its name in 0.1
        assert main(["plot", word, str(tmp_path), "--out", str(tmp_path / f"{word}.svg")]) == 0
        assert (tmp_path / f"{word}.svg").stat().st_size > 1000


def test_other_algorithms_have_none(tmp_path, capsys):
    run = fake_run(tmp_path)
    assert prediction_sections(run, []) == []
    with pytest.raises(UsageError, match="pilco does"):
        plot_prediction(run, out=tmp_path / "p.svg")
    assert main(["plot", "prediction"]) == 2
    assert "needs a run" in capsys.readouterr().err
