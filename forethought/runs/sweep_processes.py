"""A sweep on this machine: a few processes at a time, each pinned to cores of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forethought.runs.directory import RunDirectory
from forethought.runs.files import storage_errors
from forethought.runs.signals import Interruption
from forethought.runs.sweep import TAIL, RunState, SweepReporter

POLL_S = 0.1  # between two looks at the processes
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC")  # NPROC: XLA's own threads
WRONG_USAGE = 2  # exit status of a training that another attempt cannot mend

Cores = tuple[int, ...]


@dataclass
class _Job:
    """A training process, on its cores."""

    state: RunState
    process: subprocess.Popen
    cores: Cores
    said: int  # size of its log before it began


def run_processes(
    states: Sequence[RunState],
    *,
    cores: Sequence[Cores],
    retries: int,
    reporter: SweepReporter,
    interruption: Interruption,
    command: Sequence[str] = (sys.executable, "-m", "forethought"),
) -> None:
    """Train until every run is done or has failed for good.

    A run that another process trains is waited for.  Where this is left by an exception, such as Ctrl-C, the processes
    are told to stop, which leaves their runs resumable.

    Args:
        states: the runs; those that are done are left alone.
        cores: for each worker the cores that its process is pinned to; see `divide_cores`.
        retries: further attempts after a failure that another attempt may mend.
        reporter: shows the progress.
        interruption: checked in every pass.
        command: of the command line.
    """
    waiting = deque(state for state in states if state.status == "waiting")
    free, jobs = list(reversed(cores)), list[_Job]()
    try:
        while waiting or jobs:
            interruption.check()
            while free and (state := _next(waiting, reporter)) is not None:
                jobs.append(_start(command, state, free.pop()))
                reporter.began(state)
            for job in [job for job in jobs if job.process.poll() is not None]:
                jobs.remove(job)
                free.append(job.cores)
                _settle(job, waiting, retries, reporter)
            reporter.refresh(states)
            time.sleep(POLL_S)
    except BaseException:
        for job in jobs:
            job.process.terminate()
        for job in jobs:
            job.process.wait()
        raise


def divide_cores(available: Sequence[int], *, workers: int | None, each: int | None, runs: int) -> list[Cores]:
    """The cores of each worker.

    Args:
        available: cores that this process may use.
        workers: processes at a time; by default as many as have cores of their own, one for each run at most.
        each: cores of a process; by default all cores are divided equally.
        runs: how many runs there are.
    """
    count = min(workers or max(len(available) // (each or 1), 1), max(runs, 1))
    size = min(each or max(len(available) // count, 1), len(available))
    return [tuple(available[(i * size + k) % len(available)] for k in range(size)) for i in range(count)]


def available_cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def thread_variables(cores: int) -> dict[str, str]:
    """Environment variables that limit a training to so many threads."""
    return dict.fromkeys(THREADS, str(cores))


def _next(waiting: deque[RunState], reporter: SweepReporter) -> RunState | None:
    """The next run to train; None if there is none, or others train all that wait."""
    for _ in range(len(waiting)):
        state = waiting.popleft()
        if RunDirectory(state.planned.directory).is_locked():
            state.status = "elsewhere"
            waiting.append(state)
        elif state.planned.finished():  # by the process that had it
            state.status = "done"
            reporter.ended(state)
        else:
            return state
    return None


def _start(command: Sequence[str], state: RunState, cores: Cores) -> _Job:
    planned = state.planned
    words = [*command, "train", *planned.words, "--out", str(planned.directory), "--resume"]
    with storage_errors(planned.log):
        planned.directory.mkdir(parents=True, exist_ok=True)
        with open(planned.log, "ab") as log, _pinned(cores):
            said = log.tell()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_variables(len(cores))
            )
    state.status, state.attempts = "running", state.attempts + 1
    return _Job(state, process, cores, said)


def _variables(cores: int) -> Mapping[str, str]:
    """Of the process; memory of a GPU is taken as needed, since several processes may share it."""
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **os.environ, **thread_variables(cores)}


@contextlib.contextmanager
def _pinned(cores: Cores) -> Iterator[None]:
    """While inside, this thread runs on `cores` alone, and so does every process that it starts, for good."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _settle(job: _Job, waiting: deque[RunState], retries: int, reporter: SweepReporter) -> None:
    """What the end of a process means for its run."""
    state, status = job.state, job.process.returncode
    if status == 0:
        state.status = "done"
        reporter.ended(state)
        return
    state.reason = _reason(job)
    if status == WRONG_USAGE and RunDirectory(state.planned.directory).is_locked():  # another sweep was quicker
        state.status = "elsewhere"
        waiting.append(state)
    elif status != WRONG_USAGE and state.attempts <= retries:
        state.status = "waiting"
        waiting.append(state)
        reporter.again(state)
    else:
        state.status = "failed"
        reporter.ended(state)


def _reason(job: _Job) -> str:
    """Why a training failed: its signal, what `run.json` says, or its last words."""
    status = job.process.returncode
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
        return f"killed by signal {-status}"
    with open(job.state.planned.log, "rb") as log:
        log.seek(max(job.said, log.seek(0, os.SEEK_END) - TAIL))
        rows = [row.strip() for row in log.read().decode(errors="replace").splitlines() if row.strip()]
    last = rows[-1].removeprefix("error: ") if rows else f"exit status {status}"
    return last if status == WRONG_USAGE else job.state.planned.failure() or last
