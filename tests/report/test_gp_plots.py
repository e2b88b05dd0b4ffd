"""Pictures of Gaussian processes: what is drawn is what the model says, from the run's own experience."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.cli.main import main
from forethought.core import UsageError
from forethought.dynamics.learned import LearnedDynamics, regression_data
from forethought.dynamics.space import StateSpace
from forethought.models.gp.process import GP
from forethought.report import plot_gp
from forethought.report.gp_picture import gp_sections
from forethought.report.gp_plots import hidden, slices_picture
from forethought.report.gp_slices import Slices, slices_of, textbook
from forethought.runs.transitions import save_episode
from tests.report.fakes import episodes_of, fake_run, oscillator


@pytest.fixture(scope="module")
def learned():
    """A Gaussian process that learned the oscillator, and the episodes it learned from."""
    space, episodes = StateSpace(2), episodes_of(oscillator(std=0.02), count=2, steps=20)
    steps = jax.tree.map(lambda *parts: jnp.concatenate(parts), *episodes)
    z, y = regression_data(space, steps, 0)
    model, _ = GP(restarts=1).fit(z, y, jnp.asarray(40), key=jr.key(0))
    return LearnedDynamics(model, space), episodes


@pytest.fixture
def run(learned, tmp_path):
    """A run directory with it."""
    dynamics, episodes = learned
    (tmp_path / "transitions").mkdir()
    for number, episode in enumerate(episodes):
        save_episode(tmp_path / "transitions", number + 1, episode, {})
    return fake_run(tmp_path, model=dynamics)


def test_slices_show_the_model(learned):
    dynamics, episodes = learned
    slices = slices_of(dynamics, episodes, ["force (N)"])
    assert slices.inputs == ("x[0]", "x[1]", "force (N)") and slices.outputs == ("change of x[0]", "change of x[1]")
    assert len(slices.grid) == 2 and all(len(row) == 3 for row in slices.grid)
    along_u = slices.grid[1][2]  # x[1] grows by dt u
    slope = np.polyfit(along_u.at, along_u.mean, 1)[0]
    assert slope == pytest.approx(0.1, rel=0.1)
    assert along_u.at[0] < along_u.z.min() and along_u.at[-1] > along_u.z.max()
    assert np.all((along_u.weight >= 0) & (along_u.weight <= 1)) and along_u.weight.max() == pytest.approx(1)
    residual = along_u.y - np.interp(along_u.z, along_u.at, along_u.mean)
    assert np.std(residual) == pytest.approx(0.02, rel=0.4)  # data are off the slice by their noise
    assert np.all(along_u.std < 0.03) and along_u.samples.shape == (3, len(along_u.at))


def test_textbook_goes_through_its_points():
    with jax.enable_x64(True):
        one = textbook()
    at_data = lambda values: np.interp(one.z, one.at, values)  # noqa: E731
    np.testing.assert_allclose(at_data(one.mean), [-1.6, 0.3, 1.3, 0.4, -1.1], atol=0.02)
    assert np.all(at_data(one.std) < 0.05) and one.std.max() > 0.7
    for sample in one.samples:
        np.testing.assert_allclose(at_data(sample), at_data(one.mean), atol=0.1)
    assert np.ptp(one.samples[:, -1]) > 0.3


def test_the_command_draws_the_committed_figure(capsys, tmp_path):
    """Words and shape; random numbers and fonts may differ between versions."""
    target, committed = tmp_path / "gp.svg", Path(__file__).parents[2] / "docs/img/gp.svg"
    assert main(["plot", "gp", "--out", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    words = lambda path: re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())  # noqa: E731
    assert words(target) == words(committed) and "one standard deviation" in words(target)


def test_a_run_is_plotted_and_has_its_section(run, tmp_path):
    assert plot_gp(run, out=tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    (section,) = gp_sections(run.path, run.algorithm.problem(None, run.env))
    assert b"change of x[1]" in section.pictures[0].svg and not section.text


def test_other_models_have_none(tmp_path):
    run = fake_run(tmp_path)
    assert gp_sections(run.path, run.algorithm.problem(None, run.env)) == []
    with pytest.raises(UsageError, match="--model gp"):
        plot_gp(run, out=tmp_path / "p.svg")


def test_the_text_says_what_is_not_shown(learned):
    slices = slices_of(*learned, ["force (N)"])
    assert hidden(slices) == ""
    many = Slices(slices.inputs * 4, slices.outputs, tuple(row * 4 for row in slices.grid))
    assert "8 of 12 inputs" in hidden(many)
    assert slices_picture(many).startswith(b"<?xml")


@pytest.mark.parametrize("words", [["plot", "gp", "--out", "gp.pdf"], ["plot", "gp", "--out", "no/where/gp.svg"]])
def test_wrong_usage(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("error: plot")
