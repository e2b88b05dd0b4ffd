"""A planning problem with the learned model of a run, for an environment whose task is known."""

from pathlib import Path

from forethought.core import Box, Problem, UsageError
from forethought.envs.env import Env
from forethought.envs.logged.cutting import CONTRADICTION
from forethought.runs.run import Run


def learned_problem(path: str | Path, env: Env, known: Problem) -> Problem:
    """The task of `known`, with the dynamics that the run at `path` has learned.

    Raises:
        UsageError: the run has no model of the dynamics, or one of other coordinates, actions or time steps.
    """
    run = Run(path)
    if not hasattr(run.algorithm, "problem"):
        raise UsageError(f"{path} has no learned model of the dynamics.")
    theirs, dynamics = run.env, run.algorithm.problem(run.state, run.env).dynamics
    if getattr(dynamics, "n_extra", 0):
        raise UsageError(f"the model of {path} predicts rewards too; plan with a model of a task with a known cost.")
    pairs = [("state", theirs.space.names, env.space.names)]
    for task in (theirs.task, env.task):
        if not isinstance(task.action_space, Box):
            raise UsageError(f"plans with the model of {path} need continuous actions (a Box action space).")
    pairs.append(("action", theirs.task.action_space.names, env.task.action_space.names))  # type: ignore[union-attr]
    for kind, mine, wanted in pairs:
        generic = all(name.endswith("]") for name in mine) or all(name.endswith("]") for name in wanted)
        if len(mine) != len(wanted) or (sorted(mine) == sorted(wanted) and mine != wanted and not generic):
            raise UsageError(
                f"the {kind}s of {path} are {', '.join(mine)}, and those of {env.name} {', '.join(wanted)}: fit the "
                f"model again with --{kind}s in this order."
            )
    dt = getattr(theirs, "known_dt", theirs.task.dt)
    if dt is not None and abs(dt / env.task.dt - 1) > CONTRADICTION:
        raise UsageError(f"the model of {path} has steps of {dt:g} s, and {env.name} of {env.task.dt:g} s.")
    return Problem(dynamics, known.task)
