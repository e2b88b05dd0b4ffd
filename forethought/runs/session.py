"""The part of a training done by one process: rounds, and their results on disk.

Round i (from 0) is `algorithm.iterate(state, env, key=fold_in(key(seed), i))`, so a round depends only on the previous
state and the seed.  After each round its episodes, its metrics and the new state are written to disk, in this order.  A
round is complete when its checkpoint is written; an incomplete round is repeated on resume, with the same keys.
"""

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.random as jr

from forethought.algorithms.protocol import Algorithm
from forethought.core import CheckpointError, EnvironmentFailure, Transition
from forethought.envs.env import Env
from forethought.runs import checkpoint, metrics, transitions
from forethought.runs.budget import Budget
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.claim import RESUME
from forethought.runs.directory import FORMAT, RunDirectory, now
from forethought.runs.files import StorageError
from forethought.runs.monitored_env import MonitoredEnv
from forethought.runs.names import names_of
from forethought.runs.progress import Reporter, reporter_for
from forethought.runs.provenance import git_commit, hardware, versions
from forethought.runs.run import check_sizes, sizes
from forethought.runs.serialization import fingerprint, first_difference
from forethought.runs.signals import Interrupted, Interruption, interruptible

Callback = Callable[[dict[str, Any], Any], None]  # of the metrics of a round and the state after it


class Session:
    """Runs rounds and writes their results to disk."""

    def __init__(
        self,
        algorithm: Algorithm,
        env: Env,
        identity: dict[str, Any],
        directory: RunDirectory,
        budget: Budget,
        started: float,
    ):
        self.algorithm, self.env, self.directory, self.budget = algorithm, env, directory, budget
        self.identity, self.settings = identity, fingerprint(identity)
        self.state: Any = None
        self.progress = TrainingProgress()
        self.info: dict[str, Any] = {}
        self.monitored = MonitoredEnv(env, lambda *_: None)
        self.notices: tuple[str, ...] = ()  # notices shown when training starts
        self._clock = started  # end of the time included in `progress.wall_s`
        self._said: set[str] = set()  # notes of earlier rounds, without their numbers

    def run(self, state: Any, earlier: dict[str, Any] | None, progress: bool, callbacks: Sequence[Callback]) -> None:
        """Run rounds from `state`, or from the last one of an `earlier` session, until the budget is used up.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the run can be resumed.
            EnvironmentFailure, NumericalFailure, StorageError: the failure of a round; earlier experience is on disk.
        """
        with (
            reporter_for(progress) as reporter,
            self.directory.locked(),
            self.directory.reserved() as free,
            interruptible(reporter.hint) as interruption,
        ):
            try:
                self.begin(state, earlier, reporter)
                self.rounds(reporter, callbacks, interruption)
            except BaseException as problem:
                if interruption.signal is None:
                    free()  # on a full disk, this frees space for the error in `run.json`
                    self.failed(problem, reporter)
                    raise
                raise self.interrupted() from None

    def begin(self, state: Any, earlier: dict[str, Any] | None, reporter: Reporter) -> None:
        """Restore the state of an earlier session, if there is one, and set the status in `run.json` to "running"."""
        self.directory.clean()
        self.state = _settled(state)
        made_with = {"versions": versions(), "git": git_commit(), "hardware": hardware()}
        if earlier is not None:
            check_sizes(earlier, self.env)
            self._go_back(reporter)
            difference = first_difference(earlier["versions"], made_with["versions"])
            if difference:
                reporter.notice(f"versions differ, so the result may not be bitwise identical: {difference}")
        self.info = {
            "format": FORMAT,
            **self.identity,
            "fingerprint": self.settings,
            "sizes": sizes(self.env),
            **made_with,
            "created": earlier["created"] if earlier else now(),
        }
        self._write("running")
        reporter.begin(str(self.directory.path), self.budget, self.progress)
        for notice in self.notices:
            reporter.notice(f"note: {notice}")

    def rounds(self, reporter: Reporter, callbacks: Sequence[Callback], interruption: Interruption) -> None:
        """Run rounds until the budget is used up; check for signals after every step and round."""

        def on_step(steps: int, episode_return: float) -> None:
            interruption.check()
            reporter.step(steps, episode_return)

        self.monitored = MonitoredEnv(self.env, on_step)
        while not self.budget.spent(self.progress):
            interruption.check()
            line = self.round()
            reporter.round(line)
            self._say(line.get("notes", ()), reporter)
            for callback in callbacks:
                callback(line, self.state)
                interruption.check()
        self._write("done")

    def round(self) -> dict[str, Any]:
        """Run one round, write it to disk, and return its metrics."""
        before = self.progress
        self.monitored.begin_round(before.env_steps)
        key = jr.fold_in(jr.key(self.identity["seed"]), before.iteration)
        state, info = self.algorithm.iterate(self.state, self.monitored, key=key)
        self._save(info.episodes)
        line, progress = metrics.round_line(before, info, self.env, self._elapsed())
        metrics.append(self.directory.metrics_path, line)
        self.state = _settled(state)
        checkpoint.save(self.directory.checkpoints, self.state, progress, self.settings)
        self.progress = progress
        self.monitored.begin_round()
        self._write("running")
        return line

    def _say(self, notes: Sequence[str], reporter: Reporter) -> None:
        """Show each note once; notes that differ only in their numbers count as one."""
        for note in notes:
            wording = re.sub(r"\d+([.,]\d+)*(e[-+]?\d+)?", "#", note)
            if wording not in self._said:
                reporter.notice(f"note: {note}")
            self._said.add(wording)

    def failed(self, problem: BaseException, reporter: Reporter) -> None:
        """Record the failure in `run.json` and save unfinished episodes, if possible; the first error is kept."""
        with contextlib.suppress(StorageError):
            self._write("failed", str(problem) or type(problem).__name__)
        with contextlib.suppress(StorageError):
            self._save(self.monitored.episodes)
            if isinstance(problem, EnvironmentFailure) and problem.episode is not None:
                path = self._save([problem.episode], after=len(self.monitored.episodes), partial=True)
                reporter.notice(f"the {len(problem.episode)} steps before the failure are in {path}")

    def interrupted(self) -> Interrupted:
        """Record the interruption in `run.json`; returns the error to raise, whose message says how to continue."""
        stood = f"after round {self.progress.iteration} ({self.progress.env_steps} real steps)"
        with contextlib.suppress(StorageError):
            self._write("interrupted", f"stopped by a signal {stood}")
        return Interrupted(f"interrupted {stood}; the run is in {self.directory.path}. {RESUME}.")

    def _go_back(self, reporter: Reporter) -> None:
        """Restore the newest intact checkpoint; later rounds are deleted and repeated."""
        folder = self.directory.checkpoints
        damaged: list[CheckpointError] = []
        for iteration in reversed(checkpoint.iterations(folder)):
            try:
                self.state, self.progress = checkpoint.load(folder, iteration, self.state, self.settings)
                break
            except CheckpointError as refusal:
                damaged.append(refusal)
        else:
            self._check_nothing_lost(damaged)
        for problem in damaged:
            reporter.notice(f"{problem} Going back to round {self.progress.iteration}; later rounds are repeated.")
        torn = metrics.truncate(self.directory.metrics_path, self.progress.iteration)
        if torn:
            reporter.notice(torn)
        transitions.drop_after(self.directory.transitions, self.progress.recorded)
        wrong = transitions.damaged_episodes(self.directory.transitions, self.progress.recorded)
        if wrong:
            lost = f"{', '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
            reporter.notice(
                f"damaged or missing in {self.directory.transitions}: {lost}. Training continues from the checkpoint, "
                "which contains the needed data; these episodes cannot be exported."
            )

    def _check_nothing_lost(self, damaged: list[CheckpointError]) -> None:
        """Raise `CheckpointError` if there is no intact checkpoint, unless no round was ever finished."""
        remedy = "The run cannot be resumed; train again with another --out."
        if damaged:
            raise CheckpointError(f"{damaged[0]} {remedy}") from damaged[0]
        if len(metrics.read(self.directory.metrics_path)) > 1:
            raise CheckpointError(f"the checkpoints in {self.directory.checkpoints} are gone. {remedy}")

    def _write(self, status: str, reason: str | None = None) -> None:
        """Update `run.json` if the session has begun."""
        if not self.info:
            return
        budget = {**vars(self.budget)}
        progress = {**vars(self.progress), "experience_s": self.progress.env_steps * float(self.env.task.dt)}
        self.info |= {"budget": budget, "standing": progress, "status": status, "reason": reason}
        self.directory.write_info(self.info)

    def _save(self, episodes: Sequence[Transition], after: int = 0, partial: bool = False) -> Path | None:
        """Write episodes of the running round, of which `after` are already written; returns the last path."""
        about = {
            "env": self.env.name,
            "iteration": self.progress.iteration + 1,
            "dt": float(self.env.task.dt),
            **names_of(self.env),
        }
        path = None
        for number, episode in enumerate(episodes, start=self.progress.recorded + after + 1):
            path = transitions.save_episode(self.directory.transitions, number, episode, about, partial=partial)
        return path

    def _elapsed(self) -> float:
        """Seconds since the last call."""
        before, self._clock = self._clock, time.perf_counter()
        return self._clock - before


def _settled(state: Any) -> Any:
    """`state` without weak types, which checkpoints do not store, so that a resumed run compiles the same programs."""
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf, state)
