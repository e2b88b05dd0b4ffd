"""A sweep: many trainings, each in a run directory of its own, and what is known of each.

Nothing about a sweep is stored beside the run directories.  A run that is done is left alone, any other is resumed from
its directory: so the same sweep, started again after whatever happened, continues.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from forethought.algorithms.protocol import Algorithm
from forethought.core.errors import CheckpointError, UsageError
from forethought.envs.environment import Environment
from forethought.runs.budget import Budget
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.claim import claim
from forethought.runs.directory import RunDirectory
from forethought.runs.serialization import to_plain

TAIL = 64 * 1024  # bytes at the end of a file that are searched for its last line
LOG = "train.log"  # what a run of a sweep printed, in its directory

Status = Literal["waiting", "running", "elsewhere", "done", "failed"]


@dataclass(frozen=True)
class PlannedRun:
    """One training of a sweep."""

    directory: Path
    algorithm: Algorithm
    environment: Environment
    seed: int
    budget: Budget
    words: tuple[str, ...]  # arguments of `forethought train` that mean the same

    @property
    def name(self) -> str:
        """Its directory's name, unique in the sweep."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """What the training prints."""
        return self.directory / LOG

    def finished(self) -> bool:
        """Whether its directory holds a run that is done and has spent this budget."""
        directory = RunDirectory(self.directory)
        if not directory.exists():
            return False
        info = directory.read_info()
        standing = {name: value for name, value in info["standing"].items() if name != "experience_s"}
        return info["status"] == "done" and self.budget.spent(TrainingProgress(**standing))

    def check(self) -> None:
        """Raise `UsageError` or `CheckpointError` if its directory holds another run, or something else."""
        identity = {
            "algorithm": to_plain(self.algorithm, "algorithm"),
            "env": self.environment.record(),
            "seed": self.seed,
        }
        claim(RunDirectory(self.directory), identity, self.environment, resume=True)

    def failure(self) -> str | None:
        """Why its training failed, as `run.json` says; None where it does not say so."""
        try:
            info = RunDirectory(self.directory).read_info()
        except (UsageError, CheckpointError):
            return None
        return info.get("reason") if info["status"] == "failed" else None


@dataclass
class RunState:
    """What is known of a run while the sweep goes on."""

    planned: PlannedRun
    status: Status = "waiting"
    attempts: int = 0  # trainings begun by this sweep
    reason: str = ""  # of the last failure
    _read: tuple[int, dict[str, Any]] = field(default=(0, {}))  # size of metrics.jsonl and its last line, read before

    @property
    def line(self) -> dict[str, Any]:
        """The last round's metrics; empty before the first round."""
        path = RunDirectory(self.planned.directory).metrics_path
        size = path.stat().st_size if path.exists() else 0
        if size != self._read[0]:
            self._read = (size, last_metrics(path))
        return self._read[1]

    @property
    def share(self) -> float:
        """The part of the budget that is spent, from 0 to 1."""
        line = self.line
        return self.planned.budget.share(line.get("iteration", 0), line.get("env_steps", 0))


@runtime_checkable
class SweepReporter(Protocol):
    """Shows the progress of a sweep."""

    def began(self, state: RunState) -> None:
        """A training began, or goes on."""
        ...

    def ended(self, state: RunState) -> None:
        """A run is done or has failed for good."""
        ...

    def again(self, state: RunState) -> None:
        """A run failed and will be tried again."""
        ...

    def refresh(self, states: Sequence[RunState]) -> None:
        """Called every fraction of a second."""
        ...


def states_of(planned: Iterable[PlannedRun]) -> list[RunState]:
    """The runs with what their directories say: done, or waiting."""
    return [RunState(run, "done" if run.finished() else "waiting") for run in planned]


def last_metrics(path: Path) -> dict[str, Any]:
    """The last whole line of `metrics.jsonl`; empty if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - TAIL, 0))
            rows = file.read().split(b"\n")[:-1]  # what follows the last line's end is being written
    except OSError:
        return {}
    for row in reversed(rows):
        try:
            line = json.loads(row)
        except ValueError:
            continue
        if isinstance(line, dict) and "iteration" in line:
            return line
    return {}
