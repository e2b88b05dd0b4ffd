"""The run directory: its files, `run.json`, and the lock of the process that writes there.

run.json        settings, seed, versions, hardware, progress, status (running | done | interrupted | failed + reason)
metrics.jsonl   one object per round
checkpoints/    the last few states
transitions/    the real experience, one file per episode
"""

import contextlib
import datetime
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forethought.core.errors import CheckpointError, UsageError
from forethought.runs.files import NO_FOLLOW, open_own, remove_leftovers, storage_errors, write_json, write_whole
from forethought.runs.serialization import fingerprint

FORMAT = 1
IDENTITY = ("algorithm", "env", "seed")  # entries that identify a run; their fingerprint is recorded
OPTIONAL_IDENTITY = ("init_policy", "teachers", "data")  # entries that only some runs have
KINDS: dict[str, type] = {name: dict for name in ("algorithm", "env", "versions", "budget", "standing")} | {
    "seed": int,
    "created": str,
    "status": str,
}
LOCK_ATTEMPTS, LOCK_PAUSE = 4, 0.05  # of taking the lock; s between two
RESERVE = 64 * 1024  # size of the file that is deleted to write `run.json` on a full disk, bytes


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run, and its `run.json`."""

    path: Path

    @property
    def info_path(self) -> Path:
        """`run.json`."""
        return self.path / "run.json"

    @property
    def metrics_path(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def transitions(self) -> Path:
        """The folder of episodes."""
        return self.path / "transitions"

    def exists(self) -> bool:
        """Whether the directory contains a run."""
        return self.info_path.is_file()

    def has_experience(self) -> bool:
        """Whether the directory contains checkpoints or episodes."""
        return any(folder.is_dir() and any(folder.iterdir()) for folder in (self.checkpoints, self.transitions))

    def read_info(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            UsageError: there is no run in the directory.
            CheckpointError: the file is damaged, or was written by a newer version.
        """
        if not self.exists():
            raise UsageError(f"there is no run in {self.path} (no run.json); name the --out directory of a training.")
        damaged = CheckpointError(f"{self.info_path} is damaged: it is not the JSON that training wrote.")
        try:
            info = json.loads(self.info_path.read_bytes(), object_hook=lambda parts: _Info(self.info_path, parts))
            newer = info["format"] > FORMAT
        except (ValueError, TypeError) as problem:
            raise damaged from problem
        if newer:
            raise CheckpointError(
                f"{self.info_path} was written by a newer version of Forethought; upgrade to read it."
            )
        for name, kind in KINDS.items():
            if not isinstance(info.get(name, kind()), kind):
                raise CheckpointError(f"{self.info_path} is damaged: its '{name}' is {info[name]!r}.")
        identity = (*IDENTITY, *(name for name in OPTIONAL_IDENTITY if name in info))
        if "fingerprint" in info and info["fingerprint"] != fingerprint({name: info[name] for name in identity}):
            what = f"its {', '.join(IDENTITY[:-1])} or {IDENTITY[-1]} differs from that of the run"
            raise CheckpointError(f"{self.info_path} was altered after training wrote it: {what}. Undo the change.")
        return info

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace `run.json` atomically, with a new time stamp."""
        write_json(self.info_path, {**info, "updated": now()})

    @contextlib.contextmanager
    def reserved(self) -> Iterator[Callable[[], None]]:
        """Reserve disk space to write `run.json` on a full disk; calling the yielded function frees the space early."""
        path = self.path / ".reserve"
        write_whole(path, bytes(RESERVE))

        def free() -> None:
            path.unlink(missing_ok=True)

        try:
            yield free
        finally:
            free()

    def clean(self) -> None:
        """Remove files left by killed processes; requires the lock."""
        for folder in (self.path, self.checkpoints, self.transitions):
            remove_leftovers(folder)

    def create(self) -> None:
        """Make the folders.

        Raises:
            UsageError: a file has the name of a folder, or the location cannot be written.
        """
        in_the_way = next((p for p in (self.path, *self.path.parents) if p.exists() and not p.is_dir()), None)
        if in_the_way:
            raise UsageError(f"{in_the_way} is a file; choose another directory with --out.")
        try:
            for folder in (self.checkpoints, self.transitions):
                folder.mkdir(parents=True, exist_ok=True)
            unwritable = not os.access(self.path, os.W_OK | os.X_OK)
        except PermissionError:
            unwritable = True
        except OSError as problem:
            with storage_errors(self.path):
                raise problem
        if unwritable:
            raise UsageError(f"{self.path} cannot be written; choose another directory with --out.")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the directory against other trainings; the lock ends with the process.

        Raises:
            UsageError: another process trains into this directory.
        """
        try:
            import fcntl  # noqa: F401
        except ImportError:  # Windows: no lock, as on file systems without locks
            yield
            return
        with storage_errors(self.path), os.fdopen(open_own(self.path / ".lock", os.O_RDWR), "r+") as file:
            if not _lock(file):
                raise UsageError(f"another process is training into {self.path}; wait for it, or choose another --out.")
            yield

    def is_locked(self) -> bool:
        """Whether a process trains into this directory now; always false where there are no locks.

        The lock is taken for a moment, which `locked` allows for.
        """
        try:
            import fcntl

            with open(os.open(self.path / ".lock", os.O_RDWR | NO_FOLLOW), "r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except (ImportError, OSError):
            return False
        return False


def _lock(file: Any) -> bool:
    """Lock a file, also if another process looks at the lock just now; true where the file system has no locks."""
    import fcntl

    for attempt in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE if attempt + 1 < LOCK_ATTEMPTS else 0.0)
        except OSError:
            return True
    return False


class _Info(dict):
    """A part of `run.json`; reading a missing entry raises `CheckpointError`."""

    def __init__(self, path: Path, parts: dict[str, Any]):
        super().__init__(parts)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise CheckpointError(f"{self._path} is damaged: it has no '{name}'.")


def now() -> str:
    """Date and time in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
