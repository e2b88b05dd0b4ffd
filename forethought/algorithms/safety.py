"""How the algorithms that plan treat the constraints of a task."""

from typing import Any

from forethought.core import Controller, UsageError
from forethought.core.constraints import has_constraints
from forethought.envs.env import Env
from forethought.planning.backup import Replanning, WithBackup
from forethought.policies.base_policy import controller_made_by


def with_backup(mpc: Replanning, backup: str | None, env: Env) -> Controller:
    """`mpc`, with the controller that the function named `backup` makes of `env`, if one is named.

    Raises:
        UsageError: no such function, or what it returns is no controller.
    """
    return mpc if backup is None else WithBackup(mpc, controller_made_by(backup, env, "backup"))


def require_kept(algorithm: Any, env: Env) -> None:
    """Raise `UsageError` where the task has constraints that the algorithm does not keep.

    An algorithm that keeps them has the property `keeps_constraints`.
    """
    if not has_constraints(env.task) or getattr(algorithm, "keeps_constraints", False):
        return
    raise UsageError(
        f"{type(algorithm).__name__} does not keep constraints; the algorithms that act by plans do: pets, mpc, "
        "iterative, fit-once, known-mpc. For this one, make a violation expensive in --cost, and count violations with "
        "`forethought evaluate RUN --constraint MODULE:FUNCTION`."
    )
