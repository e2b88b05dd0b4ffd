"""Which runs are compared with which: from run directories to records by algorithm and environment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from forethought.core import UsageError
from forethought.report.record import algorithm_name, labels_of, number

LAST = 5  # rounds that a score averages
KNOWLEDGE = ("angles", "velocities", "names")  # options that tell an algorithm about a task and do not change it
UNEQUAL = 1.1  # ratio of the steps of two runs from which their lengths differ


@dataclass(frozen=True)
class Record:
    """A run's record; rounds without an episode are left out."""

    path: str
    algorithm: str  # label of its group
    seed: int
    status: str
    reason: str | None
    env: dict[str, Any]  # as `run.json` has it
    settings: dict[str, Any]  # of the algorithm, as `run.json` has them
    env_steps: Float[np.ndarray, "R"]
    returns: Float[np.ndarray, "R"]  # mean over the episodes of a round
    solved: Bool[np.ndarray, "R"]  # the round's last episode solved the task
    has_test: bool  # the task has a test of success
    wall_s: Float[np.ndarray, "R"]
    model_error: Float[np.ndarray, "R"]  # NaN where there is none

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return str(self.env["name"])

    @property
    def score(self) -> float:
        """Mean return over the last rounds."""
        return float(self.returns[-LAST:].mean())

    @property
    def variant(self) -> str:
        """Equal for runs that differ in environment and seed alone."""
        return repr((self.settings, [self.env.get(name) for name in KNOWLEDGE]))


@dataclass(frozen=True)
class Gathered:
    """Runs by algorithm and environment; `records` holds all, `cells` those that count, by seed."""

    algorithms: tuple[str, ...]
    environments: tuple[str, ...]
    cells: Mapping[tuple[str, str], tuple[Record, ...]]
    records: tuple[Record, ...]
    notes: tuple[str, ...]


def gather(runs: Sequence[Any]) -> Gathered:
    """Sort runs into cells of one algorithm and one environment.

    Algorithms are told apart by their settings.  Where a class of algorithm has one set of settings on every
    environment, its runs are one algorithm even if the settings differ between environments.

    Raises:
        UsageError: no run has a finished round, runs are of different tasks, or an algorithm lacks an environment.
    """
    notes: list[str] = []
    records = [record for record in map(_record, runs) if _has_rounds(record, notes)]
    if not records:
        raise UsageError("no run has a finished round, so there is nothing to compare; train them longer.")
    environments = tuple(dict.fromkeys(record.environment for record in records))
    for name in environments:
        _check_one_task([record for record in records if record.environment == name])
    records = _labeled(records, environments, notes)
    algorithms = tuple(dict.fromkeys(record.algorithm for record in records))
    cells = {
        (algorithm, name): tuple(r for r in records if (r.algorithm, r.environment) == (algorithm, name))
        for algorithm in algorithms
        for name in environments
    }
    missing = next((cell for cell, members in cells.items() if not members), None)
    if missing:
        raise UsageError(
            f"{missing[0]} has no run on {missing[1]}, and every algorithm needs runs on the same environments: add "
            f"some, or leave out the runs on {missing[1]}."
        )
    counting = {cell: _counting(members, notes) for cell, members in cells.items()}
    return Gathered(algorithms, environments, counting, tuple(records), tuple(notes))


def _record(run: Any) -> Record:
    info = run.info
    metrics = [line for line in run.metrics if line.get("return") is not None]
    return Record(
        path=str(run.path),
        algorithm=algorithm_name(info),
        seed=int(info["seed"]),
        status=str(info["status"]),
        reason=info.get("reason"),
        env=dict(info["env"]),
        settings=dict(info["algorithm"]),
        env_steps=np.array([line["env_steps"] for line in metrics], float),
        returns=np.array([_mean_return(line) for line in metrics], float),
        solved=np.array([bool(line.get("solved")) for line in metrics], bool),
        has_test=any(line.get("solved") is not None for line in metrics),
        wall_s=np.array([line["wall_s"] for line in metrics], float),
        model_error=np.array([line.get("model_error") for line in metrics], float),
    )


def _mean_return(line: Mapping[str, Any]) -> float:
    mean = line.get("return_mean")
    return float(line["return"] if mean is None else mean)


def _has_rounds(record: Record, notes: list[str]) -> bool:
    if not len(record.returns):
        notes.append(f"left out, since it has no finished round: {_named(record)}.")
    return len(record.returns) > 0


def _named(record: Record) -> str:
    """A run that is not done, with how far it came and why it stopped."""
    steps = f"after {number(record.env_steps[-1])} steps" if len(record.env_steps) else "before its first round ended"
    reason = f": {' '.join(record.reason.split()).rstrip('.')}" if record.reason and record.status == "failed" else ""
    return f"{record.path} ({record.status} {steps}{reason})"


def _check_one_task(records: Sequence[Record]) -> None:
    """Raise `UsageError` for runs whose returns mean different things."""
    first = records[0]
    for other in records[1:]:
        for name in (*first.env, *other.env):
            mine, theirs = first.env.get(name), other.env.get(name)
            if mine != theirs and name not in KNOWLEDGE:
                raise UsageError(
                    f"{first.path} and {other.path} are runs of different tasks: the {name} of {first.environment} is "
                    f"{_shown(mine)} in one and {_shown(theirs)} in the other. Compare runs of equal tasks only."
                )


def _shown(value: Any) -> str:
    return "not given" if value is None else f"'{value}'" if isinstance(value, str) else str(value)


def _labeled(records: Sequence[Record], environments: Sequence[str], notes: list[str]) -> list[Record]:
    """Records with the labels of their groups."""
    labels: dict[str, str] = {}  # by variant
    for kind in dict.fromkeys(record.algorithm for record in records):
        of_kind = [record for record in records if record.algorithm == kind]
        variants = dict.fromkeys(record.variant for record in of_kind)
        each = [{r.variant for r in of_kind if r.environment == name} for name in environments]
        if len(variants) == 1 or max(map(len, each)) == 1:
            labels |= dict.fromkeys(variants, kind)
            if len(variants) > 1:
                notes.append(f"the settings of {kind} differ between environments; see the table of settings.")
        else:
            first = {record.variant: record for record in reversed(of_kind)}
            told = labels_of([_told(first[variant]) for variant in variants])
            labels |= dict(zip(variants, _distinct(told), strict=True))
    return [replace(record, algorithm=labels[record.variant]) for record in records]


def _told(record: Record) -> dict[str, Any]:
    """The settings, with what was told about the task, as a label describes them."""
    known = {name: record.env[name] for name in KNOWLEDGE if record.env.get(name)}
    return {**record.settings, "settings": {**record.settings["settings"], **known}}


def _distinct(labels: Iterable[str]) -> list[str]:
    """Labels with a number where two are equal."""
    found: list[str] = []
    for label in labels:
        equal = sum(other == label or other.startswith(f"{label} (") for other in found)
        found.append(f"{label} ({equal + 1})" if equal else label)
    return found


def _counting(members: Sequence[Record], notes: list[str]) -> tuple[Record, ...]:
    """The runs that statistics are of: one for each seed, and those that are done where some are."""
    once: dict[int, Record] = {}
    for record in sorted(members, key=lambda record: (record.seed, record.status != "done")):
        if record.seed in once:
            notes.append(f"{record.path} has the settings and the seed of {once[record.seed].path} and counts once.")
        else:
            once[record.seed] = record
    done = [record for record in once.values() if record.status == "done"]
    rest = [record for record in once.values() if record.status != "done"]
    counted = done or rest
    if rest:
        verb = "left out" if done else "not done, and compared as far as they came"
        notes.append(f"{verb}: {', '.join(map(_named, rest))}.{_bias(rest) if done else ''}")
    steps = [record.env_steps[-1] for record in counted]
    if max(steps) > UNEQUAL * min(steps):
        which = f"{counted[0].algorithm} on {counted[0].environment}"
        notes.append(
            f"runs of {which} have different lengths, {number(min(steps), 7)} to {number(max(steps), 7)} steps: scores "
            "are of each run's end, and curves over seeds stop where the shortest ends."
        )
    return tuple(counted)


def _bias(rest: Sequence[Record]) -> str:
    failed = any(record.status == "failed" for record in rest)
    return " Leaving out failed runs favors their algorithm." if failed else ""
