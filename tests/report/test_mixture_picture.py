"""Pictures of Gaussian mixtures: the components of the run's model, over the run's own experience."""

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
from forethought.models.gmm import GMM
from forethought.report import plot_gmm
from forethought.report.mixture_picture import clusters_of, mixture_sections
from forethought.runs.transitions import save_episode
from tests.report.fakes import episodes_of, fake_run, oscillator


@pytest.fixture
def run(tmp_path):
    """A run directory with a mixture that learned the oscillator."""
    space, episodes = StateSpace(2), episodes_of(oscillator(std=0.02), count=2, steps=20)
    steps = jax.tree.map(lambda *parts: jnp.concatenate(parts), *episodes)
    model, _ = GMM(rows_per_component=10).fit(*regression_data(space, steps, 0), jnp.asarray(40), key=jr.key(0))
    (tmp_path / "transitions").mkdir()
    for number, episode in enumerate(episodes):
        save_episode(tmp_path / "transitions", number + 1, episode, {})
    return fake_run(tmp_path, model=LearnedDynamics(model, space))


def test_a_run_is_plotted_and_has_its_section(run, tmp_path):
    problem = run.algorithm.problem(None, run.env)
    clusters = clusters_of(run.path, problem)
    assert clusters.points.shape == (40, 5) and clusters.outputs == ("change of x[0]", "change of x[1]")
    np.testing.assert_allclose(
        clusters.components.weights @ clusters.components.means, clusters.points.mean(0), atol=1e-4
    )
    assert plot_gmm(run, out=tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    (section,) = mixture_sections(run.path, problem)
    assert b"change of x[1]" in section.pictures[0].svg and not section.text


def test_other_models_have_none(tmp_path):
    run = fake_run(tmp_path)
    assert mixture_sections(run.path, run.algorithm.problem(None, run.env)) == []
    with pytest.raises(UsageError, match="--model gmm"):
        plot_gmm(run, out=tmp_path / "p.svg")


def test_the_command_draws_the_committed_figure(capsys, tmp_path):
    """Words and shape; fonts may differ between versions."""
    target, committed = tmp_path / "gmm.svg", Path(__file__).parents[2] / "docs/img/gmm.svg"
    assert main(["plot", "gmm", "--out", str(target)]) == 0
    assert str(target) in capsys.readouterr().out
    words = lambda path: re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())  # noqa: E731
    assert words(target) == words(committed) and "components" in words(target)
