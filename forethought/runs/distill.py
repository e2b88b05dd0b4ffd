"""`distill`: a student of trained runs, as a run of its own; what is distilled follows from the runs.

A run that plans with a learned model of several networks gives its dynamics: the student plans with one network.  Any
other run gives its controller: the student is a policy network.  `to` decides where both are possible.  Several runs
give their policies: the student plays all their games, with a head for each.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from forethought.algorithms.distill import DistillDynamics, DistillPolicy
from forethought.algorithms.distill_games import DistillGames, policy_of
from forethought.algorithms.experience import Experience
from forethought.core import OnHost, UsageError
from forethought.envs.environment import Environment
from forethought.registry import STUDENTS
from forethought.runs.driver import train
from forethought.runs.run import Run

Kind = Literal["dynamics", "policy", "games"]
ROUNDS = {"dynamics": 2, "policy": 12, "games": 20}  # by default


def distill(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    to: Kind | None = None,
    algorithm: DistillDynamics | DistillPolicy | DistillGames | None = None,
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
        algorithm: settings of the distillation; its `teacher`, or its games and experts, are those of the runs.
        iterations: number of rounds; by default 2 for dynamics, 12 for a policy and 20 for games.
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
    kinds: Mapping[str, Any] = {"dynamics": DistillDynamics, "policy": DistillPolicy, "games": DistillGames}
    settings = kinds[kind]() if algorithm is None else algorithm
    learned = [teacher.algorithm for teacher in teachers]
    if kind == "games":
        settings = dataclasses.replace(settings, games=tuple(map(_game_of, teachers)), experts=tuple(learned))
    else:
        settings = dataclasses.replace(settings, teacher=learned[0])
    return train(
        settings,
        Environment.from_record(teachers[0].info["env"]),
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
    if to == "games" or (to is None and len(runs) > 1 and all(map(_is_expert, runs))):
        _require_games(runs)
        return "games"
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


def _is_expert(run: Run) -> bool:
    """Whether the run has a policy that a student of several games could learn from."""
    try:
        policy_of(run.algorithm, run.state)
    except UsageError:
        return False
    return True


def _require_games(runs: Sequence[Run]) -> None:
    """Raise `UsageError` unless the runs are experts of different games."""
    for run in runs:
        policy_of(run.algorithm, run.state)
    games = [_game_of(run) for run in runs]
    twice = next((game for i, game in enumerate(games) if game in games[:i]), None)
    if twice is not None:
        raise UsageError(f"two runs were trained on {twice}: name one run for each game.")


def _game_of(run: Run) -> str:
    """The id of the environment that a run was trained on."""
    environment = Environment.from_record(run.info["env"])
    said = sorted(environment.given())
    if said or not isinstance(environment.id, str):
        what = f"with the option {said[0]}" if said else "on an object"
        raise UsageError(f"{run.path} was trained {what}: a student of several games needs runs on plain ids.")
    return environment.id


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
                "for each action space; use --to games, or distill each by itself."
            )


def _actions(run: Run) -> str:
    space: Any = run.env.task.action_space
    return f"{space.n} discrete actions" if hasattr(space, "n") else f"actions of {space.size} real numbers"


def _kind_of_settings(algorithm: Any) -> Kind:
    if isinstance(algorithm, DistillGames):
        return "games"
    if isinstance(algorithm, DistillDynamics | DistillPolicy):
        return "dynamics" if isinstance(algorithm, DistillDynamics) else "policy"
    raise UsageError(
        f"algorithm must be DistillDynamics(...), DistillPolicy(...) or DistillGames(...), not {algorithm!r:.60}."
    )
