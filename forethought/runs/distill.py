"""`distill`: a student of trained runs, as a run of its own; what is distilled follows from the runs.

A run that plans with a learned model of several networks gives its dynamics: the student plans with one network.  Any
other run gives its controller: the student is a policy network.  `to` decides where both are possible.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from forethought.algorithms.distill import DistillDynamics, DistillPolicy
from forethought.algorithms.experience import Experience
from forethought.core import OnHost, UsageError
from forethought.envs.environment import Environment
from forethought.registry import STUDENTS
from forethought.runs.driver import train
from forethought.runs.run import Run

Kind = Literal["dynamics", "policy"]
ROUNDS = {"dynamics": 2, "policy": 12}  # by default


def distill(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    to: Kind | None = None,
    algorithm: DistillDynamics | DistillPolicy | None = None,
    iterations: int | None = None,
    seed: int = 0,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Distill trained runs to a student, and write the student's run directory.

    Args:
        runs: the directory of a run, or several.
        out: the run directory; by default `runs/ALGORITHM-ENV-seedSEED`.
        to: what the student is; by default this follows from the run, see `kind_of`.
        algorithm: settings of the distillation; its `teacher` is replaced by the run's.
        iterations: number of rounds; by default 2 for dynamics and 12 for a policy.
        seed: the seed of all random numbers.
        resume: continue the run in `out`.
        progress: show progress on standard output.
    Raises:
        UsageError: no runs, runs that do not fit together, or one that cannot be distilled.
    """
    to = to if algorithm is None else _kind_of_settings(algorithm)
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    teachers = [Run(path) for path in paths]
    kind = kind_of(teachers, to)
    settings = {"dynamics": DistillDynamics, "policy": DistillPolicy}[kind]() if algorithm is None else algorithm
    (teacher,) = teachers
    settings = dataclasses.replace(settings, teacher=teacher.algorithm)
    return train(
        settings,
        Environment.from_record(teacher.info["env"]),
        iterations=iterations or ROUNDS[kind],
        seed=seed,
        out=out,
        resume=resume,
        progress=progress,
        teachers=[str(path) for path in paths],
    )


def kind_of(runs: Sequence[Run], to: Kind | None = None) -> Kind:
    """What is distilled: `to`, where the runs allow it, or what follows from them.

    Raises:
        UsageError: as in `distill`.
    """
    if not runs:
        raise UsageError("name a run to distill.")
    if to is not None and to not in STUDENTS:
        raise UsageError(f"a student is one of {', '.join(STUDENTS)}, not '{to}'.")
    if len(runs) > 1:
        _require_one_action_space(runs)
        raise UsageError(f"one student learns from one run, not from {len(runs)}: distill each by itself.")
    (run,) = runs
    members = _members(run)
    if to == "dynamics" and members < 2:
        what = "no learned dynamics that it plans with" if members == 0 else "only one network, so nothing to combine"
        raise UsageError(f"{run.path} has {what}: use a run of pets or mpc with an ensemble, or --to policy.")
    if to == "policy" and isinstance(run.controller, OnHost):
        raise UsageError(f"the controller of {run.path} runs on the host, so it cannot label many states.")
    return to or ("dynamics" if members > 1 else "policy")


def _members(run: Run) -> int:
    """Networks of the learned model that the run plans with; 0 if there is none, 2 for any other posterior."""
    if not isinstance(run.state, Experience) or not hasattr(run.algorithm, "planner"):
        return 0
    return int(getattr(run.state.learned.dynamics.model, "member_count", 2))


def _require_one_action_space(runs: Sequence[Run]) -> None:
    shown: Mapping[str, str] = {str(run.path): _actions(run) for run in runs}
    first, *others = shown.items()
    for path, actions in others:
        if actions != first[1]:
            raise UsageError(
                f"{first[0]} has {first[1]} and {path} has {actions}: one policy cannot imitate both without a head "
                "for each action space; distill each by itself."
            )


def _actions(run: Run) -> str:
    space: Any = run.env.task.action_space
    return f"{space.n} discrete actions" if hasattr(space, "n") else f"actions of {space.size} real numbers"


def _kind_of_settings(algorithm: Any) -> Kind:
    if isinstance(algorithm, DistillDynamics | DistillPolicy):
        return "dynamics" if isinstance(algorithm, DistillDynamics) else "policy"
    raise UsageError(f"algorithm must be DistillDynamics(...) or DistillPolicy(...), not {algorithm!r:.60}.")
