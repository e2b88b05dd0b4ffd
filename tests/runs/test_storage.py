"""Disks that are full, directories that cannot be written, and processes that meet in one."""

import errno
import json
import os

import pytest
from toy import LeastSquares, ToyEnv, leaves

import forethought as ft
from forethought.core import CheckpointError, UsageError
from forethought.runs import files
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
        written.append(handle)
        if len(written) > 14:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match="cannot write .*the disk is full; free"):
        patch.setattr(files.os, "fsync", full)
        _train(tmp_path / "run")
    assert 0 < _loaded(tmp_path / "run").standing.iteration < 3
    resumed = _train(tmp_path / "run", resume=True)
    assert leaves(resumed.state) == leaves(whole.state)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_the_device_that_is_always_full(tmp_path):
    def fill(line, state):
        (tmp_path / "run/metrics.jsonl").rename(tmp_path / "kept")
        (tmp_path / "run/metrics.jsonl").symlink_to("/dev/full")

    with pytest.raises(StorageError, match=r"metrics\.jsonl: the disk is full"):
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
