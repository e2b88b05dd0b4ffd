"""`train`: the training loop of all algorithms.

This file checks what is asked for and makes the first state; `session.py` runs the rounds and writes them to disk.
"""

import inspect
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.random as jr

from forethought.algorithms.protocol import Algorithm, HasBudgetCheck
from forethought.algorithms.safety import require_kept
from forethought.core import UsageError
from forethought.envs.environment import Environment
from forethought.registry import ALGORITHMS
from forethought.runs import checkpoint
from forethought.runs.claim import budget_of, claim, directory_of
from forethought.runs.monitored_env import has_test
from forethought.runs.notices import notices
from forethought.runs.run import INIT, Run, check_seed
from forethought.runs.serialization import to_plain
from forethought.runs.session import Callback, Session
from forethought.runs.starts import KINDS, add_all, recorded_starts, starts_of


def train(
    algorithm: Algorithm,
    env: Any,
    *,
    env_steps: int | None = None,
    iterations: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    until_solved: bool = False,
    init_policy: str | Path | None = None,
    teachers: Sequence[str | Path] = (),
    data: str | Path | None = None,
    progress: bool = True,
    callbacks: Sequence[Callback] = (),
    **options: Any,
) -> Run:
    """Train `algorithm` on `env` and write a run directory.

    Args:
        algorithm: settings, such as `PETS()`.
        env: a Gymnasium id, a `gymnasium.Env`, an `Env`, or an `Environment`.
        env_steps: number of real steps; training ends with the first round that reaches it.
        iterations: number of rounds.
        seed: the seed of all random numbers.
        out: the run directory; by default `runs/ALGORITHM-ENV-seedSEED`.
        resume: continue the run in `out`; the result is bitwise identical to that of a run that was never
            interrupted.  If there is no run in `out`, one is begun.
        until_solved: end after the first round whose last episode passes the task's success test.
        init_policy: the directory of a run whose controller is the first policy of a model-free algorithm; see
            `runs.starting_policy`.
        teachers: the directories of the runs that a distillation learns from; `runs.distill` gives them.
        data: recorded episodes that the algorithm learns from before its first round: a run, a .csv, .parquet or .npz
            file, or a Minari data set.
        progress: show progress on standard output.
        callbacks: functions of metrics and state, called after each round is written to disk.
        **options: the fields of `Environment` (cost, termination, angles, velocities, observation_noise, horizon, dt,
            ...); the run stores them for evaluation, reports and videos.
    Raises:
        UsageError: the arguments are wrong; nothing was written.
        Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
        EnvironmentFailure, NumericalFailure, StorageError: the failure of a round; earlier experience is on disk.
    """
    started = time.perf_counter()
    _check_algorithm(algorithm)
    seed = check_seed(seed)
    environment = Environment.of(env, known=tuple(inspect.signature(train).parameters), **options)
    opened = environment.open()
    require_kept(algorithm, opened)
    if until_solved and not has_test(opened):
        raise UsageError(f"until_solved: the task of '{opened.name}' has no success test; give a number of steps.")
    starts = starts_of(algorithm, opened, {"init_policy": init_policy, "data": data, "teachers": teachers or None})
    identity = {"algorithm": to_plain(algorithm, "algorithm"), "env": environment.record(), "seed": seed}
    identity |= {name: start.record for name, start in starts.items()}
    directory = directory_of(out, algorithm, opened, seed)
    earlier = claim(directory, identity, environment, resume)
    budget = budget_of(earlier, env_steps, iterations, until_solved)
    if budget.env_steps is not None and isinstance(algorithm, HasBudgetCheck):
        algorithm.check_budget(budget.env_steps)
    if earlier is not None:
        identity |= {name: earlier[name] for name in KINDS if name in earlier}
        begun = bool(checkpoint.iterations(directory.checkpoints))
        starts = {} if begun else recorded_starts(algorithm, opened, earlier)  # a checkpoint contains them
    key = jr.fold_in(jr.key(seed), INIT)
    state, told = add_all(starts, algorithm, algorithm.init(opened, key=key), opened, key=key)
    directory.create()
    session = Session(algorithm, opened, identity, directory, budget, started)
    session.notices = (*notices(environment, opened, seed=seed), *told)
    session.run(state, earlier, progress, callbacks)
    return Run(directory.path, algorithm=algorithm, env=opened, restored=(session.state, session.progress))


def _check_algorithm(algorithm: Any) -> None:
    """Raise `UsageError` unless `algorithm` is the settings of an algorithm."""
    if isinstance(algorithm, type):
        raise UsageError(f"algorithm must be settings, such as {algorithm.__name__}(), not the class itself.")
    if isinstance(algorithm, str):
        known = {name: home.rpartition(":")[2] for name, home in ALGORITHMS.items()}
        remedy = f"ft.{known[algorithm]}()" if algorithm in known else "ft.PETS()"
        raise UsageError(f"algorithm must be settings, such as {remedy}, not the text '{algorithm}'.")
    if not isinstance(algorithm, Algorithm):
        kind = type(algorithm).__name__
        raise UsageError(f"algorithm must be the settings of one, such as ft.PETS(); {kind} has no init and iterate.")
