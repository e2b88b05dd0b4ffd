import numpy as np
import pytest
from toy import LeastSquares, ToyEnv

import forethought as ft
from forethought.core import UsageError
from forethought.runs import transitions
from forethought.runs.run import load
from forethought.runs.share import export_minari

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")


def test_experience_comes_back_from_minari(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    run = ft.train(LeastSquares(), ToyEnv(), iterations=2, out=tmp_path / "run", progress=False)
    export_minari(run, "toys/point-v0")
    dataset = minari.load_dataset("toys/point-v0")
    episodes = transitions.load_episodes(run.path / "transitions")
    assert dataset.total_episodes == 2 and dataset.total_steps == 14
    assert dataset.action_space.low.tolist() == [-1.0] and dataset.observation_space.shape == (2,)
    for theirs, ours in zip(dataset.iterate_episodes(), episodes, strict=True):
        np.testing.assert_array_equal(theirs.observations[:-1], ours.x)
        np.testing.assert_array_equal(theirs.observations[-1], ours.x_next[-1])
        np.testing.assert_array_equal(theirs.actions, ours.u)
        np.testing.assert_array_equal(theirs.rewards, ours.reward)
        assert theirs.truncations.tolist() == [False] * 6 + [True] and not theirs.terminations.any()
    with pytest.raises(UsageError, match="Minari refuses the dataset 'toys/point-v0'"):
        export_minari(run, "toys/point-v0")


def test_nothing_to_export_is_a_usage_error(tmp_path):
    run = ft.train(LeastSquares(), ToyEnv(), iterations=1, out=tmp_path / "run", progress=False)
    for path in (run.path / "transitions").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="no whole episode"):
        export_minari(load(run.path, algorithm=LeastSquares(), env=ToyEnv()), "toys/point-v0")
