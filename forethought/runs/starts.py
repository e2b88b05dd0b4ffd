"""What a training may start from: the policy of a run, recorded episodes, trained teachers.

Each start is a value.  `run.json` keeps its record, so that a run that stops before its first checkpoint begins again
from the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax.random as jr
from jaxtyping import PRNGKeyArray

from forethought.core import UsageError
from forethought.envs.env import Env
from forethought.runs.run import Run
from forethought.runs.starting_data import StartingData
from forethought.runs.starting_policy import StartingPolicy


@runtime_checkable
class Start(Protocol):
    """Earlier results that the first state of an algorithm contains."""

    @property
    def record(self) -> Any:
        """Its entry in `run.json`."""
        ...

    def add_to(self, algorithm: Any, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, tuple[str, ...]]:
        """The state with these results, and notes for the user."""
        ...


@dataclass(frozen=True)
class Teachers:
    """The states of the runs that a distillation learns from."""

    paths: tuple[str, ...]  # directories

    @property
    def record(self) -> list[str]:
        """The directories."""
        return list(self.paths)

    @staticmethod
    def of(algorithm: Any, env: Env, runs: Sequence[str | Path]) -> "Teachers":
        """The teachers at the directories `runs`."""
        del algorithm, env
        return Teachers(tuple(map(str, runs)))

    def add_to(self, algorithm: Any, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, tuple[str, ...]]:
        """The state with what the teachers have learned; no notes."""
        del env, key
        return algorithm.with_teachers(state, [Run(path).state for path in self.paths]), ()


# By their names in `train` and in `run.json`; a start's place also determines its random key.
KINDS: Mapping[str, Callable[[Any, Env, Any], Start]] = {
    "init_policy": StartingPolicy.of,
    "data": StartingData.of,
    "teachers": Teachers.of,
}


def starts_of(algorithm: Any, env: Env, sources: Mapping[str, Any]) -> dict[str, Start]:
    """The starts from `sources`, by name; None for a start that is not asked for.

    Raises:
        UsageError: `algorithm` cannot start from one of them, or it does not fit `env`.
    """
    return {name: of(algorithm, env, sources[name]) for name, of in KINDS.items() if sources.get(name) is not None}


def recorded_starts(algorithm: Any, env: Env, records: Mapping[str, Any]) -> dict[str, Start]:
    """The starts whose records are in `run.json`.

    Raises:
        UsageError: one of them is no longer that of the run.
    """
    known = {name: records[name] for name in KINDS if name in records}
    starts = starts_of(algorithm, env, {name: _source(record) for name, record in known.items()})
    for name, start in starts.items():
        if start.record != known[name]:
            raise UsageError(
                f"the {name} in {_source(known[name])} have changed since the run began; begin another run."
            )
    return starts


def add_all(
    starts: Mapping[str, Start], algorithm: Any, state: Any, env: Env, *, key: PRNGKeyArray
) -> tuple[Any, tuple[str, ...]]:
    """The state with all starts, and their notes for the user."""
    notes: tuple[str, ...] = ()
    for number, name in enumerate(KINDS, start=1):
        if name in starts:
            state, more = starts[name].add_to(algorithm, state, env, key=jr.fold_in(key, number))
            notes += more
    return state, notes


def _source(record: Any) -> Any:
    return record["source"] if isinstance(record, Mapping) else record
