import inspect
import json
import math

import jax
import numpy as np
import pytest
from toy import LeastSquares, Noise, ToyEnv, Wander, leaves, never, price

import forethought as ft
from forethought.core import CheckpointError, EnvironmentFailure, NumericalFailure, UsageError
from forethought.dynamics.space import StateSpace
from forethought.runs import transitions
from forethought.runs.run import load
from tests.envs.toy_envs import Drifting, Linear, limited


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of five rounds."""
    return _train(tmp_path_factory.mktemp("whole") / "run")


def _train(out, iterations=5, algorithm=None, env=None, **more):
    return ft.train(
        algorithm or LeastSquares(), env or ToyEnv(), iterations=iterations, out=out, progress=False, **more
    )


def test_a_run_leaves_what_was_promised(whole):
    info = whole.info
    assert info["status"] == "done" and info["seed"] == 0 and info["env"]["name"] == "toys/Point-v0"
    assert info["algorithm"]["settings"]["noise"]["settings"] == {"std": 0.3}
    assert info["versions"]["jax"] == jax.__version__ and info["versions"]["forethought"] == ft.__version__
    assert info["hardware"]["cores"] >= 1
    lines = whole.metrics
    assert [line["iteration"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["env_steps"] for line in lines] == [7, 14, 21, 28, 35]
    assert lines[-1]["experience_s"] == pytest.approx(3.5) and lines[-1]["solved"] is True
    assert all(a["wall_s"] < b["wall_s"] for a, b in zip(lines, lines[1:], strict=False))
    episodes = transitions.load_episodes(whole.path / "transitions")
    assert len(episodes) == 5
    assert [line["return"] for line in lines] == pytest.approx([float(e.reward.sum()) for e in episodes], rel=1e-6)
    assert sorted(p.name for p in (whole.path / "checkpoints").glob("*.json")) == [
        "000003.json",
        "000004.json",
        "000005.json",
    ]
    np.testing.assert_array_equal(episodes[-1].x_next, whole.state.buffer.rows().x_next[-7:])


def test_training_twice_gives_the_same_bits_and_another_seed_does_not(whole, tmp_path):
    assert leaves(_train(tmp_path / "same").state) == leaves(whole.state)
    assert leaves(_train(tmp_path / "other", seed=1).state) != leaves(whole.state)


def test_resuming_gives_the_bits_of_the_uninterrupted_run(whole, tmp_path):
    _train(tmp_path / "run", iterations=2)
    resumed = _train(tmp_path / "run", iterations=5, resume=True)
    assert leaves(resumed.state) == leaves(whole.state)
    timeless = [{k: v for k, v in line.items() if k not in ("wall_s", "steps_per_s")} for line in resumed.metrics]
    assert timeless == [{k: v for k, v in line.items() if k not in ("wall_s", "steps_per_s")} for line in whole.metrics]
    walls = [line["wall_s"] for line in resumed.metrics]
    assert walls == sorted(walls)


def test_loading_gives_the_state_back(whole):
    loaded = load(whole.path, algorithm=LeastSquares(), env=ToyEnv())
    assert leaves(loaded.state) == leaves(whole.state)
    assert loaded.state.buffer.capacity == 64 and loaded.state.rounds == 5 and type(loaded.state.rounds) is int
    assert loaded.progress == whole.progress


def test_the_budget_of_real_steps_ends_with_the_round_that_reaches_it(tmp_path):
    run = ft.train(LeastSquares(), ToyEnv(), env_steps=15, out=tmp_path / "run", progress=False)
    assert run.progress.env_steps == 21 and run.progress.iteration == 3


def test_until_solved_ends_with_the_first_solved_round(tmp_path):
    run = _train(tmp_path / "run", until_solved=True)
    assert run.progress.iteration == 1 and run.progress.solved is True
    run = _train(tmp_path / "far", iterations=2, env=ToyEnv(near=0.0), until_solved=True)
    assert run.progress.iteration == 2 and run.progress.solved is False


def test_callbacks_see_every_round(tmp_path):
    seen = []
    run = _train(tmp_path / "run", 3, callbacks=[lambda line, state: seen.append((line["iteration"], state.rounds))])
    assert seen == [(1, 1), (2, 2), (3, 3)] and run.progress.iteration == 3


def test_wrong_requests_are_usage_errors_and_write_nothing(tmp_path):
    with pytest.raises(UsageError, match="say how long"):
        ft.train(LeastSquares(), ToyEnv(), out=tmp_path / "a", progress=False)
    with pytest.raises(UsageError, match="at least 1, not 0"):
        _train(tmp_path / "a", iterations=0)
    with pytest.raises(UsageError, match="not the class itself"):
        _train(tmp_path / "a", algorithm=LeastSquares)
    with pytest.raises(UsageError, match="whole number from 0"):
        _train(tmp_path / "a", seed=-1)
    with pytest.raises(UsageError, match="has no success test"):
        _train(tmp_path / "a", env=ToyEnv(near=None), until_solved=True)
    train = inspect.unwrap(ft.train)  # without the tests' own type checker, which would answer first
    with pytest.raises(UsageError, match=r"such as ft.PILCO\(\), not the text 'pilco'"):
        train("pilco", ToyEnv(), iterations=1, out=tmp_path / "a")
    with pytest.raises(UsageError, match="CEM has no init and iterate"):
        train(ft.CEM(), ToyEnv(), iterations=1, out=tmp_path / "a")
    with pytest.raises(UsageError, match="out is empty"):
        _train("")
    with pytest.raises(UsageError, match="no option 'angels'; did you mean 'angles'"):
        _train(tmp_path / "a", angels=(2,))
    with pytest.raises(UsageError, match="no option 'itertions'; did you mean 'iterations'"):
        _train(tmp_path / "a", itertions=2)
    assert list(tmp_path.iterdir()) == []


def test_functions_without_a_name_are_said_and_passed_again(tmp_path):
    options = {"termination": never, "horizon": 3, "iterations": 1, "progress": False}
    with pytest.warns(UserWarning, match=r"the cost function cannot be found by name .* ft.load\(path, cost=...\)"):
        run = ft.train(Wander(3), "Pendulum-v1", cost=lambda x, u: x[0], out=tmp_path / "run", **options)
    assert run.info["env"]["termination"] == "toy:never"
    with pytest.raises(UsageError, match=r"'.*<lambda>' was a function of a script or notebook"):
        _ = load(tmp_path / "run", algorithm=Wander(3)).env
    again = load(tmp_path / "run", algorithm=Wander(3), cost=price)
    assert again.env.task.cost_function is price and again.env.task.termination_function is never


def test_an_environment_that_carries_something_between_episodes_is_noticed(tmp_path):
    """Only resuming is affected, so it is a note."""
    options = {"iterations": 1, "progress": False}
    with pytest.warns(UserWarning, match=r"keeps state .*different result at step 1.*not be bitwise identical"):
        ft.train(Wander(2), limited(Drifting(), 4), out=tmp_path / "drifting", **options)
    ft.train(Wander(2), limited(Linear(), 4), out=tmp_path / "sound", **options)  # a warning would be an error


def test_an_environment_that_has_changed_is_refused(whole):
    class Grown(ToyEnv):
        space = StateSpace(3)

    with pytest.raises(CheckpointError, match="observations of size 2, and 'toys/Point-v0' now has size 3"):
        _ = load(whole.path, algorithm=LeastSquares(), env=Grown()).state
    with pytest.raises(CheckpointError, match="observations of size 2"):
        _train(whole.path, 6, env=Grown(), resume=True)


def test_a_directory_with_a_run_is_not_overwritten(whole):
    before = (whole.path / "run.json").read_bytes()
    with pytest.raises(UsageError, match="already contains a run.*--resume"):
        _train(whole.path)
    with pytest.raises(UsageError, match=r"algorithm\.noise\.std is 0\.3 there and 0\.5 here"):
        _train(whole.path, algorithm=LeastSquares(noise=Noise(0.5)), resume=True)
    with pytest.raises(UsageError, match="seed is 0 there and 7 here"):
        _train(whole.path, seed=7, resume=True)
    assert (whole.path / "run.json").read_bytes() == before


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="is a file; choose another"):
            _train(out)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failing_environment_leaves_everything_before_it_and_can_be_resumed(whole, tmp_path):
    with pytest.raises(EnvironmentFailure, match="motor is hot"), pytest.warns(UserWarning, match="3 steps before"):
        _train(tmp_path / "run", env=ToyEnv(fails_at=3))
    failed = load(tmp_path / "run", algorithm=LeastSquares(), env=ToyEnv())
    assert failed.info["status"] == "failed" and "motor is hot" in failed.info["reason"]
    assert failed.progress.iteration == 2 and len(failed.metrics) == 2
    partial = transitions.load_episode(tmp_path / "run/transitions/partial-000003.safetensors")
    resumed = _train(tmp_path / "run", resume=True)
    assert leaves(resumed.state) == leaves(whole.state) and resumed.info["status"] == "done"
    third = transitions.load_episode(tmp_path / "run/transitions/episode-000003.safetensors")
    np.testing.assert_array_equal(partial.x, third.x[:3])


def test_numbers_that_are_not_finite_stop_training(tmp_path):
    with pytest.raises(NumericalFailure, match="return of round 1 is not finite"):
        _train(tmp_path / "reward", env=ToyEnv(bad_reward=True))
    with pytest.raises(NumericalFailure, match="'loss' after round 1 is not finite"):
        _train(tmp_path / "loss", algorithm=LeastSquares(loss=math.nan))
    info = json.loads((tmp_path / "loss/run.json").read_text())
    assert info["status"] == "failed" and "the fit diverged" in info["reason"]
    assert (tmp_path / "loss/transitions/episode-000001.safetensors").exists()


def test_the_default_directory_is_named_after_algorithm_environment_and_seed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = ft.train(LeastSquares(), ToyEnv(), iterations=1, seed=3, progress=False)
    assert str(run.path) == "runs/leastsquares-point-v0-seed3"
