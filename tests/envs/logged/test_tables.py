"""CSV and Parquet files: names, units, cuts, the time step, and one line for each kind of broken file."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.core import UsageError
from forethought.envs.logged.data import DataOptions
from forethought.envs.logged.read import read_data

NOTHING = DataOptions()
HEADER = "time (s),cart position [m],cart_velocity (m/s),action force (N)"


def table(tmp_path, rows, header=HEADER, name="log.csv"):
    path = tmp_path / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def steps(count, dt=0.1, start=0.0, value=0.0):
    """Rows of one episode; the position counts up by 1 in each."""
    return [f"{start + i * dt:.6g},{value + i},0.5,{i % 3 - 1}" for i in range(count)]


def refusal(path, options=NOTHING, **more):
    """The one line of the error."""
    with pytest.raises(UsageError) as refused:
        read_data(path, options, **more)
    line = str(refused.value)
    assert "\n" not in line and line.endswith((".", "?"))
    return line


def test_rows_become_transitions_with_names_and_units(tmp_path):
    data = read_data(table(tmp_path, steps(5)))
    (episode,) = data.episodes
    assert data.states == ("cart position (m)", "cart_velocity (m/s)") and data.actions == ("action force (N)",)
    assert data.dt == 0.1 and data.steps == 4 and not data.rewarded
    np.testing.assert_array_equal(episode.x[:, 0], [0, 1, 2, 3])
    np.testing.assert_array_equal(episode.x_next[:, 0], [1, 2, 3, 4])
    np.testing.assert_array_equal(episode.u[:, 0], [-1, 0, 1, -1])
    assert episode.x.dtype == np.float32
    assert episode.truncated.tolist() == [False, False, False, True] and not episode.terminated.any()
    assert data.action_space.low.tolist() == [-1] and data.action_space.names == data.actions


def test_episodes_are_cut_where_time_has_a_gap_or_goes_back(tmp_path):
    rows = steps(30) + steps(30, start=5.0, value=100) + steps(30, value=200)
    data = read_data(table(tmp_path, rows))
    assert [len(e) for e in data.episodes] == [29, 29, 29]
    assert [e.x[0, 0] for e in data.episodes] == [0, 100, 200]
    assert "2 gap(s)" in data.notes[0]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_no_transition_crosses_an_episode(lengths):
    """Over all lengths of episodes: T rows give T - 1 steps, all of the same episode."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    header = "episode,x,u"
    rows = [f"trial {k},{1000 * k + i},0.1" for k, length in enumerate(lengths) for i in range(length)]
    with TemporaryDirectory() as folder:
        path = table(Path(folder), rows, header)
        if max(lengths) == 1:
            assert "no two rows in sequence" in refusal(path)
            return
        data = read_data(path)
    assert [len(e) for e in data.episodes] == [length - 1 for length in lengths if length > 1]
    for episode in data.episodes:
        np.testing.assert_array_equal(episode.x_next - episode.x, np.ones_like(episode.x))


def test_flags_rewards_and_an_empty_last_action(tmp_path):
    header = "x0,x1,u,reward,terminated,truncated"
    rows = ["0,0,1,5,0,0", "1,1,1,6,0,0", "2,2,,,1,0", "7,7,1,8,false,0", "9,9,,,False,1", "0,0,2,1,0,0", "1,1,,,0,0"]
    data = read_data(table(tmp_path, rows, header))
    assert [len(e) for e in data.episodes] == [2, 1, 1]
    assert [e.terminated[-1] for e in data.episodes] == [True, False, False]
    assert [e.truncated[-1] for e in data.episodes] == [False, True, True]
    assert [e.reward.tolist() for e in data.episodes] == [[5, 6], [8], [1]] and data.rewarded


def test_times_in_milliseconds_and_other_delimiters(tmp_path):
    rows = [row.replace(",", ";") for row in [f"{20 * i},{i},0,0.5" for i in range(5)]]
    header = "timestamp (ms);position (m);velocity (m/s);control"
    assert read_data(table(tmp_path, rows, header)).dt == 0.02


def test_columns_can_be_chosen_and_ordered(tmp_path):
    options = DataOptions(states=("b", "a"), actions=("push",), dt=0.5)
    data = read_data(table(tmp_path, ["1,2,3,x", "4,5,6,y"], "a,b,push,comment"), options)
    assert read_data(table(tmp_path, steps(3)), DataOptions(states=("cart position (m)",))).states[0][-3:] == "(m)"
    assert data.states == ("b", "a") and data.dt == 0.5
    assert data.episodes[0].x.tolist() == [[2, 1]]


def test_preferred_names_are_used_where_the_table_has_all_of_them(tmp_path):
    path = table(tmp_path, ["1,2,3,4", "4,5,6,7"], "a (m),b,c [rad],extra")
    data = read_data(path, DataOptions(preferred=(("c (rad)", "a (m)"), ("b",))))
    assert data.states == ("c (rad)", "a (m)") and data.actions == ("b",)
    assert "no column is known to be an action" in refusal(path, DataOptions(preferred=(("c (rad)", "z"), ("y",))))


def test_angles_by_name_or_index(tmp_path):
    data = read_data(table(tmp_path, steps(4)))
    assert data.angles(("1", "cart position (m)")) == (0, 1)
    with pytest.raises(UsageError, match="did you mean 'cart position"):
        data.angles(("cart position",))


def test_an_angle_that_is_not_marked_is_noted(tmp_path):
    data = read_data(table(tmp_path, ["3.1,0", "-3.1,0", "-3.0,0"], "angle (rad),u"))
    (note,) = data.unmarked_angles(())
    assert "'angle (rad)' jumps by a full turn" in note and data.unmarked_angles((0,)) == ()


BROKEN = {
    "": (None, "is empty"),
    "a header only": ([], "has no rows below"),
    "no names": (["1,2,3,4"], "has no names of columns"),
    "a ragged row": ([*steps(3), "0.3,3,0.5"], "line 5 has 3 cells, and the first line names 4"),
    "text": ([*steps(3), "0.3,fast,0.5,0"], "column 'cart position [m]' holds 'fast', which is not a number"),
    "NaN": ([*steps(3), "0.3,nan,0.5,0"], "'cart position (m)' is missing or not a number (NaN) in row 4"),
    "an empty cell": ([*steps(3), "0.3,,0.5,0"], "'cart position (m)' is missing"),
    "infinity": ([*steps(3), "0.3,inf,0.5,0"], "is infinite in row 4"),
    "a missing action": ([*steps(3), "0.3,1,0.5,", "0.4,1,0.5,1"], "'action force (N)' is missing"),
    "an uneven time step": (
        [f"{t},{i},0,0" for i, t in enumerate([0, 0.1, 0.17, 0.3, 0.42, 0.49])],
        "time step varies",
    ),
    "no time": (["0,0,0,0", "nan,1,1,1"], "the time in row 2 is missing"),
    "time stands still": (["1,0,0,0", "1,1,1,1"], "never increases"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_gives_one_line(tmp_path, case):
    rows, expected = BROKEN[case]
    if rows is None:
        path = tmp_path / "log.csv"
        path.touch()
    else:
        path = table(tmp_path, rows, "0,1,2,3" if case == "no names" else HEADER)
    assert re.search(re.escape(expected), refusal(path))


def test_a_missing_column_is_named_with_those_that_exist(tmp_path):
    path = table(tmp_path, steps(3))
    line = refusal(path, DataOptions(states=("cart position [m]", "pole angle (rad)")))
    assert "no column 'pole angle (rad)', named in states" in line and "cart_velocity (m/s)" in line
    assert "two columns 'a'" in refusal(table(tmp_path, ["1,2,3"], "a,a,u"))
    assert "column 2 has no name" in refusal(table(tmp_path, ["1,2,3"], "a,,u"))
    path = table(tmp_path, steps(3))
    assert "cannot be both" in refusal(path, DataOptions(states=("time (s)",), actions=("time (s)",)))


def test_a_contradicting_time_step_is_refused(tmp_path):
    path = table(tmp_path, steps(9))
    assert "steps of 0.1 s, and a time step of 0.05 s was given" in refusal(path, DataOptions(dt=0.05))
    assert read_data(path, DataOptions(dt=0.1)).dt == 0.1
    assert read_data(table(tmp_path, ["1,2,3", "4,5,6"], "a,b,u")).dt is None


def test_large_files_are_refused_with_their_size_or_read_in_part(tmp_path):
    path = table(tmp_path, steps(100))
    with open(path, "ab") as file:
        file.truncate(2 * 2**30)  # sparse: takes no space on the disk
    assert "log.csv has 2.0 GiB; files of up to 1 GiB are read as a whole: read only its first rows" in refusal(path)
    assert read_data(path, DataOptions(rows=50)).steps == 49
    assert "over 1,000,000 characters" in refusal(path, DataOptions(rows=1000))


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x01" * 10)
    (tmp_path / "b.csv").write_bytes(b"x,u\n1,\x00\n")
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and more")
    assert "not text in UTF-8" in refusal(tmp_path / "a.csv")
    assert "zero byte" in refusal(tmp_path / "b.csv")
    assert "does not exist" in refusal(tmp_path / "none.csv")
    assert "is a folder without data" in refusal(tmp_path)
    (tmp_path / "d.pkl").write_bytes(b"x")
    assert "files are read by their ending" in refusal(tmp_path / "d.pkl")
    pytest.importorskip("pyarrow")
    assert "cannot be read as Parquet" in refusal(tmp_path / "c.parquet")


def test_parquet_equals_csv(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [*steps(6), *steps(4, start=9.0)]
    expected = read_data(table(tmp_path, rows))
    columns = list(zip(*(map(float, row.split(",")) for row in rows), strict=True))
    names = HEADER.split(",")
    pq.write_table(pa.table(dict(zip(names, columns, strict=True))), tmp_path / "log.parquet")
    found = read_data(tmp_path / "log.parquet")
    assert (found.states, found.actions, found.dt) == (expected.states, expected.actions, expected.dt)
    for mine, theirs in zip(found.episodes, expected.episodes, strict=True):
        np.testing.assert_array_equal(mine.x_next, theirs.x_next)
    assert read_data(tmp_path / "log.parquet", DataOptions(rows=3)).steps == 2
    assert "GiB of numbers" in refusal(tmp_path / "log.parquet", most_bytes=100)
    pq.write_table(pa.table({"x": ["a", "b"], "u": [1.0, 2.0]}), tmp_path / "text.parquet")
    assert "column 'x' holds string, not numbers" in refusal(tmp_path / "text.parquet")


@pytest.mark.parametrize("wrong", [{"dt": 0.0}, {"dt": float("nan")}, {"rows": 1}, {"states": ("a", "a")}])
def test_wrong_options(wrong):
    with pytest.raises(UsageError):
        DataOptions(**wrong)
