"""`train`: the training loop of all algorithms.

Round i (from 0) is `algorithm.iterate(state, env, key=fold_in(key(seed), i))`, so a round depends only on the previous
state and the seed.  After each round its episodes, its metrics and the new state are written to disk, in this order.  A
round is complete when its checkpoint is written; an incomplete round is repeated on resume, with the same keys.
"""

import contextlib
import inspect
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.random as jr

from forethought.algorithms.protocol import Algorithm, HasBudgetCheck
from forethought.algorithms.safety import require_kept
from forethought.core import CheckpointError, EnvironmentFailure, Transition, UsageError
from forethought.envs.env import Env
from forethought.envs.environment import Environment, opening_notes
from forethought.envs.functions import can_be_loaded, is_script, name_of
from forethought.envs.gym_env import GymEnv
from forethought.envs.repeatability import carries_state
from forethought.registry import ALGORITHMS
from forethought.runs import checkpoint, metrics, transitions
from forethought.runs.budget import Budget
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.directory import FORMAT, RunDirectory, now
from forethought.runs.files import StorageError
from forethought.runs.monitored_env import MonitoredEnv, has_test
from forethought.runs.names import names_of
from forethought.runs.progress import Reporter, reporter_for
from forethought.runs.provenance import git_commit, hardware, versions
from forethought.runs.run import INIT, Run, check_seed, check_sizes, sizes
from forethought.runs.serialization import fingerprint, first_difference, to_plain
from forethought.runs.signals import Interrupted, Interruption, interruptible
from forethought.runs.starting_data import StartingData
from forethought.runs.starting_policy import start_from

RESUME = "Continue it with the same command and --resume (in Python: resume=True)"


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
    callbacks: Sequence[Callable[[dict[str, Any], Any], None]] = (),
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
    identity = {"algorithm": to_plain(algorithm, "algorithm"), "env": environment.record(), "seed": seed}
    if init_policy is not None:
        identity["init_policy"] = str(init_policy)
    if teachers:
        identity["teachers"] = [str(teacher) for teacher in teachers]
    recorded = StartingData.of(algorithm, opened, data, identity)
    if out is not None and not str(out):
        raise UsageError("out is empty: name a directory for the run.")
    directory = RunDirectory(Path(out) if out is not None else default_out(algorithm, opened, seed))
    earlier = claim(directory, identity, environment, resume)
    budget = _budget(earlier, env_steps, iterations, until_solved)
    if budget.env_steps is not None and isinstance(algorithm, HasBudgetCheck):
        algorithm.check_budget(budget.env_steps)
    key = jr.fold_in(jr.key(seed), INIT)
    state = algorithm.init(opened, key=key)
    start_notes: tuple[str, ...] = ()
    init_policy = init_policy if earlier is None else earlier.get("init_policy")
    if init_policy is not None:
        if earlier is not None:
            identity["init_policy"] = init_policy
        state, start_notes = start_from(algorithm, state, opened, init_policy, key=jr.fold_in(key, 1))
    if teachers:
        state = algorithm.with_teachers(state, [Run(teacher).state for teacher in teachers])  # type: ignore[attr-defined]
    begun = bool(checkpoint.iterations(directory.checkpoints))
    recorded = StartingData.resumed(recorded, algorithm, opened, identity, earlier, begun=begun)
    state, start_notes = recorded.add_to(algorithm, state, opened, start_notes, key=jr.fold_in(key, 2))
    directory.create()
    session = Session(algorithm, opened, identity, directory, budget, started)
    session.notices = (*opening_notes(environment, opened), *notices(environment), *_memory(opened, seed), *start_notes)
    with (
        reporter_for(progress) as reporter,
        directory.locked(),
        directory.reserved() as free,
        interruptible(reporter.hint) as interruption,
    ):
        try:
            session.begin(state, earlier, reporter)
            session.rounds(reporter, callbacks, interruption)
        except BaseException as problem:
            if interruption.signal is None:
                free()  # on a full disk, this frees space for the error in `run.json`
                session.failed(problem, reporter)
                raise
            raise session.interrupted() from None
    return Run(directory.path, algorithm=algorithm, env=opened, restored=(session.state, session.progress))


def default_out(algorithm: Algorithm, env: Env, seed: int) -> Path:
    """The default run directory, such as `runs/pets-halfcheetah-v5-seed0`."""
    names = (type(algorithm).__name__, re.split("[/:]", env.name)[-1], f"seed{seed}")
    return Path("runs") / "-".join(re.sub("[^a-z0-9]+", "-", name.lower()).strip("-") for name in names)


class Session:
    """The part of a training done by one process: runs rounds and writes their results to disk."""

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

    def rounds(
        self,
        reporter: Reporter,
        callbacks: Sequence[Callable[[dict[str, Any], Any], None]],
        interruption: Interruption,
    ) -> None:
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


def notices(environment: Environment) -> tuple[str, ...]:
    """Notices for the user about an environment, shown before training."""
    found = []
    for kind in ("cost", "termination", "physics", "constraint"):
        function = getattr(environment, kind)
        if not can_be_loaded(function):
            how = f"ft.load(path, {kind}=...)"
            found.append(f"the {kind} function cannot be found by name again: load the run with {how}.")
        elif is_script((name_of(function) or "").partition(":")[0]):
            guard = 'run the script only under `if __name__ == "__main__":`, or move the function to another module'
            found.append(f"the {kind} function is recorded as '{name_of(function)}', so that loading the run imports "
                         f"the script: {guard}.")  # fmt: skip
    return tuple(found)


def _memory(env: Env, seed: int) -> tuple[str, ...]:
    """A note if the environment keeps state across resets; shipped systems keep none."""
    if not isinstance(env, GymEnv) or env.nondeterministic:
        return ()
    try:
        difference = carries_state(env, key=jr.fold_in(jr.key(seed), INIT))
    except EnvironmentFailure:  # training will fail in the same way and keep the earlier steps
        return ()
    if difference is None:
        return ()
    return (
        f"{env.name} keeps state from one episode to the next ({difference}), so an interrupted run that is "
        "resumed will not be bitwise identical to one that was not interrupted.",
    )


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
    old_env = Environment.current(earlier["env"], environment.id)
    difference = first_difference({**{name: earlier.get(name) for name in identity}, "env": old_env}, identity)
    if difference:
        raise UsageError(f"{directory.path} contains another run: {difference}. Choose another --out.")
    identity["env"] = earlier["env"]  # of an earlier version: checkpoints contain its fingerprint
    return earlier


def _budget(
    earlier: dict[str, Any] | None, env_steps: int | None, iterations: int | None, until_solved: bool
) -> Budget:
    """The requested budget; for a run resumed without a budget, its earlier budget."""
    if earlier is not None and env_steps is None and iterations is None and not until_solved:
        try:
            return Budget(**earlier["budget"])
        except TypeError as problem:
            raise CheckpointError(f"run.json is damaged: its budget is {dict(earlier['budget'])}.") from problem
    return Budget(env_steps, iterations, until_solved)


def _settled(state: Any) -> Any:
    """`state` without weak types, which checkpoints do not store, so that a resumed run compiles the same programs."""
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf, state)
