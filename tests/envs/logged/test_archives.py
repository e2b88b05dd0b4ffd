"""NumPy archives and Minari data sets; neither runs code."""

import json
import pickle

import gymnasium as gym
import numpy as np
import pytest

from forethought.core import Box, Discrete, UsageError
from forethought.envs.logged.data import DataOptions
from forethought.envs.logged.read import read_data

NOTHING = DataOptions()
X = np.arange(12.0).reshape(6, 2)
U = np.linspace(-1, 1, 6)


def archive(tmp_path, **arrays):
    np.savez(tmp_path / "log.npz", **arrays)
    return tmp_path / "log.npz"


def refusal(path, options=NOTHING, **more):
    with pytest.raises(UsageError) as refused:
        read_data(path, options, **more)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_rows_in_sequence(tmp_path):
    path = archive(tmp_path, observations=X, actions=U, rewards=U, terminals=np.arange(6) == 2, dt=0.05,
                   state_names=np.array(["a (m)", "b"]))  # fmt: skip
    data = read_data(path)
    assert data.states == ("a (m)", "b") and data.actions == ("u[0]",) and data.dt == 0.05 and data.rewarded
    assert [len(e) for e in data.episodes] == [2, 2]  # the next states of rows 2 and 5 were not recorded
    assert data.episodes[1].x.tolist() == [[6, 7], [8, 9]] and "1 terminal state(s) were not recorded" in data.notes[-1]


def test_next_observations_keep_the_last_step(tmp_path):
    x_next = X + 2
    x_next[3] = [50, 50]  # not the state of row 4: another episode begins there
    flags = {"terminated": np.arange(6) == 1}
    data = read_data(archive(tmp_path, x=X, u=U, x_next=x_next, **flags))
    assert [len(e) for e in data.episodes] == [2, 2, 2]
    assert [e.terminated[-1] for e in data.episodes] == [True, False, False]
    assert data.episodes[1].x_next.tolist() == [[6, 7], [50, 50]]
    np.testing.assert_array_equal(np.concatenate([e.u[:, 0] for e in data.episodes]), U.astype(np.float32))


def test_broken_archives_give_one_line(tmp_path):
    assert "no array 'actions'" in refusal(archive(tmp_path, x=X))
    assert "has 5 rows, and x has 6" in refusal(archive(tmp_path, x=X, u=U[:5]))
    assert "is missing or not a number" in refusal(archive(tmp_path, x=np.where(X == 4, np.nan, X), u=U))
    assert "must be numbers" in refusal(archive(tmp_path, x=X.reshape(6, 2, 1), u=U))
    assert "3 names were given" in refusal(archive(tmp_path, x=X, u=U, state_names=np.array(["a", "b", "c"])))
    assert "split it" in refusal(archive(tmp_path, x=X, u=U), most_bytes=50)
    (tmp_path / "log.npz").write_bytes(b"PK and more")
    assert "cannot be read as a NumPy archive" in refusal(tmp_path / "log.npz")


class Touch:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_objects_in_an_archive_are_not_unpickled(tmp_path):
    mark = tmp_path / "executed"
    path = archive(tmp_path, x=np.array([Touch(mark)] * 6, dtype=object), u=U)
    assert "cannot be read as a NumPy archive" in refusal(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Touch(mark))).close()
    assert mark.exists()  # the trap works


@pytest.fixture
def minari(tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    module = pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return module


def data_set(minari, name="toys/point-v0", observation_space=None, action_space=None, observations=None, actions=None):
    box = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    buffer = minari.data_collector.EpisodeBuffer(
        id=0,
        observations=X.astype(np.float32) if observations is None else observations,
        actions=U[:5, None].astype(np.float32) if actions is None else actions,
        rewards=np.ones(5),
        terminations=np.arange(5) == 4,
        truncations=np.zeros(5, bool),
        infos={},
    )
    spaces = {
        "observation_space": observation_space or box,
        "action_space": action_space or gym.spaces.Box(-2, 2, (1,), np.float32),
    }
    return minari.create_dataset_from_buffers(name, [buffer], **spaces)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_minari_data_set(minari, tmp_path):
    data_set(minari)
    for source in ("toys/point-v0", tmp_path / "minari" / "toys" / "point-v0"):
        data = read_data(source, DataOptions(dt=0.1))
        (episode,) = data.episodes
        np.testing.assert_array_equal(episode.x, X[:-1])
        np.testing.assert_array_equal(episode.x_next, X[1:])
        assert episode.terminated.tolist() == [False] * 4 + [True] and not episode.truncated.any()
        assert isinstance(data.action_space, Box) and data.action_space.high.tolist() == [2] and data.dt == 0.1
    assert read_data("toys/point-v0", DataOptions(rows=3)).steps == 3
    assert "GiB; data sets of up to" in refusal("toys/point-v0", most_bytes=10)
    assert "did you mean 'toys/point-v0'?" in refusal("toys/pint-v0")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nested_observations_and_discrete_actions(minari):
    part = gym.spaces.Box(-9, 99, (2,), np.float32)
    nested = gym.spaces.Dict({"goal": part, "state": part})
    values = {"goal": X.astype(np.float32), "state": (10 + X).astype(np.float32)}
    data_set(minari, observation_space=nested, observations=values, action_space=gym.spaces.Discrete(3, start=1),
             actions=np.array([1, 2, 3, 1, 2]))  # fmt: skip
    data = read_data("toys/point-v0")
    assert data.states == ("goal[0]", "goal[1]", "state[0]", "state[1]")
    assert isinstance(data.action_space, Discrete) and data.action_space.n == 3
    assert data.episodes[0].u.tolist() == [0, 1, 2, 0, 1] and data.episodes[0].x[0].tolist() == [0, 1, 10, 11]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_data_set_without_spaces_is_refused_because_its_environment_would_be_made(minari, tmp_path):
    data_set(minari)
    path = tmp_path / "minari" / "toys" / "point-v0" / "data" / "metadata.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in about.items() if name != "action_space"}))
    assert "without its environment" in refusal("toys/point-v0")
    path.write_text("{")
    assert "is damaged" in refusal("toys/point-v0")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_values_that_are_not_finite_are_refused(minari):
    data_set(minari, observations=np.where(X == 3, np.nan, X).astype(np.float32))
    assert "the observations of episode 0 are not finite" in refusal("toys/point-v0")
