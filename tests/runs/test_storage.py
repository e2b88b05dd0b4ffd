"""Disks that are full, directories that cannot be written, and processes that meet in one."""

import errno
import inspect
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy import LeastSquares, ToyEnv, leaves

import forethought as ft
from forethought.core import CheckpointError, UsageError
from forethought.runs import checkpoint, files, metrics, transitions
from forethought.runs.directory import RunDirectory
from forethought.runs.files import StorageError, write_json, write_whole
from forethought.runs.run import load


def _train(out, iterations=3, **more):
    return ft.train(LeastSquares(), ToyEnv(), iterations=iterations, out=out, progress=False, **more)


def _loaded(out):
    return load(out, algorithm=LeastSquares(), env=ToyEnv())


def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_later(tmp_path, monkeypatch):
    whole = _train(tmp_path / "whole")
    real, written = os.fsync, []

    def full(handle):
        """Full from the 15th write on, until the reserve is given up."""
        written.append(handle)
        if len(written) > 14 and (tmp_path / "run/.reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="cannot write .*the disk is full; free"):
        patch.setattr(files.os, "fsync", full)
        _train(tmp_path / "run")
    assert not list((tmp_path / "run").rglob(".part-*")) and not (tmp_path / "run/.reserve").exists()
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["status"] == "failed" and "disk is full" in info["reason"]
    assert 0 < _loaded(tmp_path / "run").progress.iteration < 3
    resumed = _train(tmp_path / "run", resume=True)
    assert leaves(resumed.state) == leaves(whole.state)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_the_device_that_is_always_full(tmp_path, monkeypatch):
    def fill(line, state):
        monkeypatch.setattr(RunDirectory, "metrics_path", Path("/dev/full"))

    with pytest.raises(StorageError, match=r"/dev/full: the disk is full"):
        _train(tmp_path / "run", callbacks=[fill])
    info = json.loads((tmp_path / "run/run.json").read_text())
    assert info["status"] == "failed" and "disk is full" in info["reason"]
    assert info["standing"]["iteration"] == 1 and (tmp_path / "run/transitions/episode-000002.safetensors").exists()


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(self, *arguments, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(UsageError, match="cannot be written; choose another"):
        patch.setattr("pathlib.Path.mkdir", refuse)
        _train(tmp_path / "run")
    with monkeypatch.context() as patch, pytest.raises(UsageError, match="cannot be written; choose another"):
        patch.setattr(os, "access", lambda *_: False)
        _train(tmp_path / "run")


def test_a_second_process_is_kept_out(tmp_path):
    directory = RunDirectory(tmp_path)
    directory.create()
    with (
        directory.locked(),
        pytest.raises(UsageError, match="another process is training"),
        RunDirectory(tmp_path).locked(),
    ):
        pass
    with directory.locked():
        pass


def test_a_crash_while_writing_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def crash(*_):
        raise KeyboardInterrupt

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(files.os, step, crash)
            write_whole(path, b"new")
        assert path.read_bytes() == b"old"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new" and [p.name for p in tmp_path.iterdir()] == ["file"]


def test_temporary_files_cannot_be_guessed_and_are_never_written_through(tmp_path, monkeypatch):
    """Not even where the name was guessed: the link is there first, and what it leads to stays as it was."""
    (tmp_path / "mine").write_text("mine")
    names = []
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", lambda source, target: names.append(Path(source).name))
        for _ in range(2):
            write_whole(tmp_path / "report.html", b"new")
    assert len(set(names)) == 2
    monkeypatch.setattr(files.secrets, "token_hex", lambda count: "guessed")
    for name in (".part-guessed-report.html", "report.html.tmp"):
        (tmp_path / name).symlink_to(tmp_path / "mine")
    with pytest.raises(StorageError, match="File exists"):
        write_whole(tmp_path / "report.html", b"new")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_link_in_place_of_a_file_is_replaced_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "run.json").symlink_to(tmp_path / "mine")
    write_whole(tmp_path / "run.json", b"new")
    assert (tmp_path / "run.json").read_bytes() == b"new" and not (tmp_path / "run.json").is_symlink()
    assert (tmp_path / "mine").read_text() == "mine"
    run = _train(tmp_path / "run", 1)
    for name, said in (("metrics.jsonl", "metrics.jsonl: it is a symbolic link"), (".lock", ".lock: it is a symbolic")):
        path = run.path / name
        kept = path.read_bytes()
        path.unlink()
        path.symlink_to(tmp_path / "mine")
        with pytest.raises(StorageError, match=said):
            metrics.append(path, {}) if name == "metrics.jsonl" else _train(run.path, 2, resume=True)
        path.unlink()
        path.write_bytes(kept)
    assert (tmp_path / "mine").read_text() == "mine"


def test_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_killed_processes_left_is_removed(tmp_path):
    run = _train(tmp_path / "run", 1)
    left = [run.path / ".part-0123-run.json", run.path / "checkpoints/.part-ab-000002.json", run.path / "run.json.tmp"]
    for path in left:
        path.write_bytes(b"part")
    assert checkpoint.iterations(run.path / "checkpoints") == [1]
    _train(run.path, 2, resume=True)
    assert not any(path.exists() for path in left)


@pytest.mark.parametrize(
    "end",
    [b'{"iteration": 4, "ret', b"\n", b"\n\n", b"\0" * 40, b"\0" * 40 + b"\n", b"{}\n", b"[1]\n", b'{"iteration": 4}'],
    ids=repr,
)
def test_metrics_that_are_not_whole_are_dropped_and_said(tmp_path, end):
    run = _train(tmp_path / "run")
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes()
    path.write_bytes(lines + end)
    with pytest.warns(UserWarning, match="metrics.jsonl: lines? 4.* skipped: incomplete"):
        assert [line["iteration"] for line in run.metrics] == [1, 2, 3]
    with pytest.warns(UserWarning, match="skipped: incomplete"):
        _train(run.path, 4, resume=True)
    assert path.read_bytes().startswith(lines) and [line["iteration"] for line in run.metrics] == [1, 2, 3, 4]


def test_episodes_that_are_damaged_or_not_ours(tmp_path):
    run = _train(tmp_path / "run")
    folder = run.path / "transitions"
    (folder / "episode-abc.safetensors").write_bytes(b"a note")
    content = bytearray((folder / "episode-000002.safetensors").read_bytes())
    content[-20] ^= 1
    (folder / "episode-000002.safetensors").write_bytes(content)
    (folder / "episode-000001.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"episode-000002.safetensors is damaged"):
        transitions.load_episodes(folder)
    with pytest.warns(UserWarning, match=r"episode-000001.safetensors, episode-000002.safetensors. Training continues"):
        _train(run.path, 4, resume=True)
    assert (folder / "episode-abc.safetensors").exists() and (folder / "episode-000004.safetensors").exists()


def test_a_directory_that_lost_its_run_json_is_not_taken_over(tmp_path):
    run = _train(tmp_path / "run")
    (run.path / "run.json").unlink()
    before = sorted(run.path.rglob("*"))
    for resume in (False, True):
        with pytest.raises(UsageError, match="episodes or checkpoints of another run, but no run.json"):
            _train(run.path, 4, resume=resume)
    assert sorted(run.path.rglob("*")) == before


def test_json_has_null_for_what_is_not_finite(tmp_path):
    write_json(tmp_path / "x.json", {"a": float("nan"), "b": [1, float("inf")], "c": (2.5, True)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1, None], "c": [2.5, True]}


def test_a_run_without_experience_may_be_begun_again(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    directory.write_info({"format": 1})
    assert _train(tmp_path / "run", 1).info["status"] == "done"


def test_run_json_that_is_missing_damaged_or_newer(tmp_path):
    with pytest.raises(UsageError, match="there is no run in"):
        load(tmp_path / "nothing")
    run = _train(tmp_path / "run", 1)
    info = (run.path / "run.json").read_text()
    (run.path / "run.json").write_text(info[:-9])
    with pytest.raises(CheckpointError, match="run.json is damaged"):
        load(run.path)
    (run.path / "run.json").write_text(info.replace('"format": 1', '"format": 99'))
    with pytest.raises(CheckpointError, match="newer version"):
        load(run.path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda info: info.pop("seed"), "no 'seed'"),
        (lambda info: info.pop("env"), "no 'env'"),
        (lambda info: info["env"].pop("spec"), "was altered"),
        (lambda info: info["algorithm"]["settings"].update(ridge="ten"), "was altered"),
        (lambda info: info["env"].update(spec="Pendulum-v1"), "was altered"),
        (lambda info: info.update(seed=1), "was altered"),
        (lambda info: info.update(seed="one"), "its 'seed' is 'one'"),
        (lambda info: info.update(algorithm=[]), "its 'algorithm' is"),
        (lambda info: info.pop("budget"), "no 'budget'"),
        (lambda info: info["budget"].update(iterations="ten"), "budget is|whole number"),
        (lambda info: info["budget"].update(hours=3), "budget is"),
        (lambda info: info.pop("versions"), "no 'versions'"),
        (lambda info: info.clear(), "no 'format'"),
    ],
)
def test_an_edited_run_json_is_one_clear_error(tmp_path, trained_once, change, said):
    out = tmp_path / "run"
    shutil.copytree(trained_once, out)
    info = json.loads((out / "run.json").read_text())
    change(info)
    (out / "run.json").write_text(json.dumps(info))
    with pytest.raises((CheckpointError, UsageError), match=said):
        _loaded(out).evaluate(1)
        ft.train(LeastSquares(), ToyEnv(), out=out, resume=True, progress=False)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory):
    return _train(tmp_path_factory.mktemp("once") / "run", 1).path


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3), 3])
def test_seeds_of_numpy_are_recorded_as_numbers(tmp_path, seed):
    train = inspect.unwrap(ft.train)  # without the tests' own type checker
    run = train(LeastSquares(), ToyEnv(), iterations=1, seed=seed, out=tmp_path / "run", progress=False)
    assert run.info["seed"] == 3 and type(run.evaluate(1).seed) is int


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "3", None, True])
def test_seeds_that_are_none(tmp_path, seed):
    with pytest.raises(UsageError, match="a seed is a whole number"):
        inspect.unwrap(ft.train)(LeastSquares(), ToyEnv(), iterations=1, seed=seed, out=tmp_path / "run")
