"""A sweep on a Ray cluster: one task for each run.

Ray places the tasks, starts a task again whose worker died, and limits how many run at a time.  A task continues the
run in its directory, so the directories must be on a file system that all nodes share.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forethought.core.errors import UsageError
from forethought.runs.signals import Interruption
from forethought.runs.sweep import PlannedRun, RunState, SweepReporter
from forethought.runs.sweep_processes import thread_variables

WAIT_S = 0.5  # between two looks at the tasks


def run_on_ray(
    states: Sequence[RunState],
    *,
    address: str | None,
    workers: int | None,
    cores: int,
    retries: int,
    reporter: SweepReporter,
    interruption: Interruption,
) -> None:
    """Train until every run is done or has failed for good.

    Args:
        states: the runs; those that are done are left alone.
        address: of a cluster; by default the one that RAY_ADDRESS names or that runs on this machine, else an instance
            on this machine alone; "local" is always such an instance.
        workers: tasks at a time of an instance on this machine alone; by default as many as have CPUs of their own.
        cores: CPUs of each task.
        retries: further attempts after a worker died or a training failed.
        reporter: shows the progress.
        interruption: checked in every pass.
    Raises:
        UsageError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _ray()
    before = {state.planned.log: _changed(state.planned.log) for state in states}
    if own := not ray.is_initialized():
        with _own_handler():
            _connect(ray, address, None if workers is None else workers * cores)
    try:
        task = ray.remote(
            num_cpus=cores,
            max_retries=retries,
            retry_exceptions=[_Failed],
            max_calls=1,  # a process of its own for each run: nothing compiled or set is left from another
        )(_train)
        waiting = {
            task.remote(state.planned, cores, os.getcwd(), sys.path[0]): state
            for state in states
            if state.status == "waiting"
        }
        while waiting:
            interruption.check()
            ended, _ = ray.wait(list(waiting), timeout=WAIT_S)
            for one in ended:
                _settle(ray, one, waiting.pop(one), reporter)
            for state in waiting.values():
                _look(state, before, reporter)
            reporter.refresh(states)
    finally:
        if own:
            ray.shutdown()


class _Failed(RuntimeError):
    """A training failed; another attempt may mend it."""


def _train(planned: PlannedRun, cores: int, folder: str, place: str) -> str | None:
    """The task: continue the run in its directory; a reason where another attempt cannot mend its failure."""
    from forethought.runs.driver import train

    os.environ.update(thread_variables(cores))  # XLA reads them with the first computation
    os.chdir(folder)
    sys.path += [path for path in (place, folder) if path not in sys.path]
    planned.directory.mkdir(parents=True, exist_ok=True)
    budget = planned.budget
    with open(planned.log, "a") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        try:
            train(
                planned.algorithm,
                planned.environment,
                env_steps=budget.env_steps,
                iterations=budget.iterations,
                until_solved=budget.until_solved,
                seed=planned.seed,
                out=planned.directory,
                resume=True,
            )
        except UsageError as problem:
            print(f"error: {problem}", flush=True)
            return str(problem)
        except Exception as problem:
            print(f"error: {problem}", flush=True)
            raise _Failed(str(problem)) from None
    return None


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a task without GPUs of Ray's sees the machine's
    try:
        import ray
    except ImportError as problem:
        raise UsageError("--ray needs Ray: pip install 'forethought[ray]'") from problem
    return ray


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray would replace by one that exits."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _connect(ray: Any, address: str | None, cpus: int | None) -> None:
    found = address or os.environ.get("RAY_ADDRESS") or "auto"
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if found != "local":
        try:
            ray.init(address=found, **quiet)
            return
        except ConnectionError as problem:
            if found != "auto":
                raise UsageError(f"no Ray cluster answers at '{found}'; start one: ray start --head") from problem
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)


def _look(state: RunState, before: Mapping[Path, float], reporter: SweepReporter) -> None:
    """Note that a task has begun, from what it prints."""
    log = state.planned.log
    if state.status == "waiting" and _changed(log) != before[log]:
        state.status, state.attempts = "running", 1
        reporter.began(state)


def _changed(path: Path) -> float:
    """When a file was written last; 0 if there is none."""
    return path.stat().st_mtime if path.exists() else 0.0


def _settle(ray: Any, task: Any, state: RunState, reporter: SweepReporter) -> None:
    try:
        reason = ray.get(task)
    except ray.exceptions.RayError as problem:
        cause = getattr(problem, "cause", None)
        reason = str(cause or problem).strip().splitlines()[-1]
    state.status, state.reason = ("done", "") if reason is None else ("failed", reason)
    reporter.ended(state)
