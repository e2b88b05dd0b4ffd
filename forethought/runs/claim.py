"""Which run a training writes: its directory, whether that is the same run begun earlier, and its budget."""

import re
from pathlib import Path
from typing import Any

from forethought.algorithms.protocol import Algorithm
from forethought.core import CheckpointError, UsageError
from forethought.envs.env import Env
from forethought.envs.environment import Environment
from forethought.runs.budget import Budget
from forethought.runs.directory import RunDirectory
from forethought.runs.serialization import first_difference, from_plain, to_plain

RESUME = "Continue it with the same command and --resume (in Python: resume=True)"


def directory_of(out: str | Path | None, algorithm: Algorithm, env: Env, seed: int) -> RunDirectory:
    """The directory `out`; by default a path such as `runs/pets-halfcheetah-v5-seed0`."""
    if out is not None and not str(out):
        raise UsageError("out is empty: name a directory for the run.")
    return RunDirectory(Path(out) if out is not None else _default_out(algorithm, env, seed))


def claim(
    directory: RunDirectory, identity: dict[str, Any], environment: Environment, resume: bool
) -> dict[str, Any] | None:
    """The `run.json` of the run to resume, None for a new run.

    Raises:
        UsageError: the directory contains another run, or a run although `resume` is False.
    """
    if not directory.exists() and not directory.has_experience():
        return None
    if not directory.exists():
        what = "contains episodes or checkpoints of another run, but no run.json"
        raise UsageError(f"{directory.path} {what}. Choose another --out, or restore its run.json.")
    if not resume:
        if not directory.has_experience():
            return None
        raise UsageError(f"{directory.path} already contains a run. {RESUME}, or choose another --out.")
    earlier = directory.read_info()
    now = {
        **{name: earlier.get(name) for name in identity},
        "env": Environment.current(earlier["env"], environment.id),
        "algorithm": _current(earlier.get("algorithm")),
    }
    difference = first_difference(now, identity)
    if difference:
        raise UsageError(f"{directory.path} contains another run: {difference}. Choose another --out.")
    identity |= {name: earlier[name] for name in ("env", "algorithm")}  # checkpoints contain their fingerprint
    return earlier


def _current(algorithm: Any) -> Any:
    """Recorded settings, possibly of an earlier version, in the format of this version: new ones have their default."""
    try:
        return to_plain(from_plain(algorithm))
    except (CheckpointError, UsageError):  # not a class of this library, or damaged: to be compared as it is
        return algorithm


def budget_of(
    earlier: dict[str, Any] | None, env_steps: int | None, iterations: int | None, until_solved: bool
) -> Budget:
    """The requested budget; for a run resumed without a budget, its earlier budget."""
    if earlier is not None and env_steps is None and iterations is None and not until_solved:
        try:
            return Budget(**earlier["budget"])
        except TypeError as problem:
            raise CheckpointError(f"run.json is damaged: its budget is {dict(earlier['budget'])}.") from problem
    return Budget(env_steps, iterations, until_solved)


def _default_out(algorithm: Algorithm, env: Env, seed: int) -> Path:
    names = (type(algorithm).__name__, re.split("[/:]", env.name)[-1], f"seed{seed}")
    return Path("runs") / "-".join(re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") for name in names)
