"""The run directory: what lies where, `run.json`, and who may write there.

run.json        settings, seed, versions, hardware, standing, status (running | done | interrupted | failed + why)
metrics.jsonl   one object per round
checkpoints/    the last few states
transitions/    the real experience, one file per episode
"""

import contextlib
import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forethought.core.errors import CheckpointError, UsageError
from forethought.runs.files import storage_errors, write_json

FORMAT = 1


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
        """Whether a run was begun here."""
        return self.info_path.is_file()

    def has_experience(self) -> bool:
        """Whether there is anything here that took time to collect."""
        return any(folder.is_dir() and any(folder.iterdir()) for folder in (self.checkpoints, self.transitions))

    def read_info(self) -> dict[str, Any]:
        """The content of `run.json`.

        Raises:
            UsageError: there is no run here.
            CheckpointError: the file is damaged, or of a newer version.
        """
        if not self.exists():
            raise UsageError(f"there is no run in {self.path} (no run.json); name the --out directory of a training.")
        try:
            info = json.loads(self.info_path.read_bytes())
            newer = info["format"] > FORMAT
        except (ValueError, KeyError, TypeError) as problem:
            raise CheckpointError(f"{self.info_path} is damaged: it is not the JSON that training wrote.") from problem
        if newer:
            raise CheckpointError(
                f"{self.info_path} was written by a newer version of Forethought; upgrade to read it."
            )
        return info

    def write_info(self, info: dict[str, Any]) -> None:
        """Replace `run.json`, whole or not at all, with a fresh time stamp."""
        write_json(self.info_path, {**info, "updated": now()})

    def create(self) -> None:
        """Make the folders.

        Raises:
            UsageError: there is a file in the way, or the place cannot be written.
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
        """Keep other trainings out while this one writes; the lock goes with the process, however it ends.

        Raises:
            UsageError: another process trains into this directory.
        """
        try:
            import fcntl
        except ImportError:  # Windows: no lock, as on file systems without locks
            yield
            return
        with storage_errors(self.path), open(self.path / ".lock", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another process is training into {self.path}; wait for it, or choose another --out."
                ) from None
            except OSError:
                pass
            yield


def now() -> str:
    """The time of day, UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
