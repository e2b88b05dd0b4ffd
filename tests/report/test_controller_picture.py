"""The plot of a linear-Gaussian controller: its numbers against samples, the textbook example, the command."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from forethought.cli.main import main
from forethought.core import LinearGaussian, UsageError
from forethought.report import plot_controller
from forethought.report.controller_picture import controller_sections, spread_of, textbook
from tests.report.fakes import FakePlanning, fake_run, oscillator

STEPS = 15


@pytest.fixture
def run(tmp_path):
    """A run with controllers for two initial conditions, of which the first is shown."""
    system = oscillator(std=0.02)
    F = np.broadcast_to(np.concatenate([system.A, system.B], axis=1), (2, STEPS, 2, 3))
    K = np.broadcast_to([[-1.0, -0.5]], (2, STEPS, 1, 2))
    S = np.broadcast_to([[0.04]], (2, STEPS, 1, 1)) * np.array([1.0, 9.0])[:, None, None, None]
    as_ = lambda *arrays: LinearGaussian(*(jnp.asarray(a, jnp.float32) for a in arrays))  # noqa: E731
    dynamics = as_(F, np.zeros((2, STEPS, 2)), np.broadcast_to(0.02**2 * np.eye(2), (2, STEPS, 2, 2)))
    xs = jnp.asarray(np.broadcast_to([1.0, 0.0], (2, STEPS + 1, 2)), jnp.float32)
    run = fake_run(tmp_path, algorithm=FakePlanning(system), rounds=2)
    run.state = SimpleNamespace(policies=as_(K, np.full((2, STEPS, 1), 0.3), S), dynamics=dynamics, xs=xs)
    return run


def test_the_spread_is_that_of_samples(run):
    spread = spread_of(run)
    rng, count = np.random.default_rng(0), 20_000
    A, B = np.asarray(oscillator().A), np.asarray(oscillator().B)
    x = np.tile([1.0, 0.0], (count, 1))
    for t in range(STEPS):
        for one, values in zip(spread.states, x.T, strict=True):
            assert one.mean[t] == pytest.approx(values.mean(), abs=0.01)
            assert one.std[t] == pytest.approx(values.std(), abs=0.01)
        u = x @ [[-1.0], [-0.5]] + 0.3 + 0.2 * rng.normal(size=(count, 1))
        action = spread.actions[0]
        assert action.mean[t] == pytest.approx(u.mean(), abs=0.01) and action.std[t] == pytest.approx(u.std(), abs=0.01)
        assert action.exploration[t] == pytest.approx(0.2)
        x = x @ A.T + u @ B.T + 0.02 * rng.normal(size=x.shape)


def test_exploration_is_largest_where_the_cost_is_flat():
    """Just after the first target the mass may go anywhere; just before a target it may not."""
    spread = textbook()
    exploration, position = spread.actions[0].exploration, spread.states[0]
    assert exploration[55] > 1.8 * exploration[48] and exploration[55] > 5 * exploration[99]
    assert position.mean[50] == pytest.approx(1, abs=0.05) and position.mean[100] == pytest.approx(0, abs=0.05)
    assert position.std[50] < 0.02 < 0.1 < max(position.std[51:100])


def test_the_command_and_the_page_show_it(run, tmp_path, capsys):
    target = tmp_path / "controller.svg"
    assert main(["plot", "controller", "--out", str(target)]) == 0
    assert "std of exploration" in target.read_text() and str(target) in capsys.readouterr().out
    assert plot_controller(run, out=tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    (section,) = controller_sections(run)
    assert "initial condition 1 of 2" in section.pictures[0].caption


def test_runs_without_such_controllers(run, tmp_path):
    run.state = SimpleNamespace(local=run.state)
    assert len(controller_sections(run)) == 1
    other = fake_run(tmp_path, algorithm=FakePlanning(oscillator()), rounds=2)
    assert controller_sections(other) == []
    with pytest.raises(UsageError, match="local-models"):
        plot_controller(other, out=tmp_path / "c.svg")
    with pytest.raises(UsageError, match="no directory"):
        plot_controller(other, out=tmp_path / "none" / "c.svg")
