"""`forethought sweep FILE`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forethought.cli.flags import Parser
from forethought.cli.sweep_file import AlgorithmEntry, EnvironmentEntry, SweepErrors, SweepFile, read_sweep_file
from forethought.core.errors import ForethoughtError, UsageError
from forethought.runs.signals import Interrupted, interruptible

if TYPE_CHECKING:
    from forethought.runs.sweep import PlannedRun, RunState

ABOUT = "train algorithms x environments x seeds from a file, several runs at a time"
EXAMPLE = """\
out = "runs/swing-up"                 # folder of the run directories (default: runs/NAME-OF-FILE)
seeds = [0, 1, 2]
iterations = 15                       # or env-steps = 3000, or until-solved = true
workers = 2                           # runs at a time on this machine (default: one for each core)
retries = 1                           # further attempts of a run that failed (default: 1)

[algorithms.pilco]                    # default settings

[algorithms.pets-icem]                # a name of your own
algorithm = "pets"
env-steps = 3000                      # a budget of its own
[algorithms.pets-icem.settings]       # what are flags of `forethought train pets`
planner = { class = "icem", horizon = 12 }
model.hidden = [64, 64]

[environments.cartpole]
id = "forethought/CartPoleSwingUp-v0"
observation-noise = 0.01              # what are options of the environment there

[environments.pendulum]
id = "forethought/PendulumSwingUp-v0"
"""
AFTER = f"""\
The same command continues an interrupted sweep: runs that are done are left alone, others go on from their last
checkpoint. Names of run directories are OUT/ALGORITHM-ENVIRONMENT-seedS. A complete file:

{"".join("  " + line for line in EXAMPLE.splitlines(keepends=True))}
With default settings a list is enough: algorithms = ["pets", "pilco"], environments = ["Pendulum-v1"].
"""


def configure(parser: Parser, argv: Sequence[str]) -> None:
    """Add the arguments."""
    del argv
    parser.epilog = AFTER
    parser.add_argument("file", metavar="FILE", help="the sweep, a TOML file")
    parser.add_argument("--workers", type=_count, metavar="N", help="runs at a time (default: that of the file)")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="run on a Ray cluster (default: RAY_ADDRESS, or the one on this machine, else a new one here: `local`)",
    )
    parser.add_argument("--dry-run", action="store_true", help="check the file, list the runs, and train nothing")


def run(values: argparse.Namespace) -> int:
    """Train what is not done; the last line names the report of all runs."""
    from forethought.runs.sweep import states_of

    path = Path(values.file)
    try:
        file = read_sweep_file(path)
        planned = _plan(path, file)
    except SweepErrors as problem:
        for error in problem.errors:
            print(f"  {' '.join(error.split())}", file=sys.stderr)
        raise
    states = states_of(planned)
    if values.dry_run:
        for state in states:
            print(f"{state.planned.name}: {state.status}")
        return 0
    _train(states, file, values)
    failed = [state for state in states if state.status == "failed"]
    for state in failed:
        print(f"failed: {state.planned.name}: {state.reason}; log: {state.planned.log}", file=sys.stderr)
    print(f"{len(states) - len(failed)} of {len(states)} runs are done")
    print(f"compare them: forethought report {file.out}")
    return 1 if failed else 0


def _train(states: "list[RunState]", file: SweepFile, values: argparse.Namespace) -> None:
    """Run the sweep on its engine."""
    from forethought.runs.sweep_processes import available_cores, divide_cores, run_processes
    from forethought.runs.sweep_table import sweep_reporter

    workers = values.workers or file.workers
    with sweep_reporter() as reporter, interruptible(reporter.hint) as interruption:
        try:
            if values.ray is not None:
                from forethought.runs.sweep_ray import run_on_ray

                run_on_ray(
                    states,
                    address=values.ray or None,
                    workers=workers,
                    cores=file.cores or 1,
                    retries=file.retries,
                    reporter=reporter,
                    interruption=interruption,
                )
                return
            open_ = sum(state.status != "done" for state in states)
            cores = divide_cores(available_cores(), workers=workers, each=file.cores, runs=open_)
            run_processes(states, cores=cores, retries=file.retries, reporter=reporter, interruption=interruption)
        except KeyboardInterrupt:
            done = sum(state.status == "done" for state in states)
            raise Interrupted(
                f"interrupted; {done} of {len(states)} runs are done. Continue with the same command."
            ) from None


def _plan(path: Path, file: SweepFile) -> "list[PlannedRun]":
    """The runs, after checks that need the algorithms and the environments themselves.

    Raises:
        SweepErrors: settings that a class refuses, environments that cannot be opened, directories of other runs.
    """
    import jax

    jax.config.update("jax_platforms", "cpu")  # of this process, which trains nothing: GPUs are left to the runs
    errors: list[str] = []
    algorithms = [(entry, _algorithm(entry, errors)) for entry in file.algorithms]
    environments = [(entry, _environment(entry, errors)) for entry in file.environments]
    if errors:
        raise SweepErrors(path, errors)
    planned = [
        _planned(file, algorithm, environment, seed)
        for algorithm in algorithms
        for environment in environments
        for seed in file.seeds
    ]
    for one in planned:
        try:
            one.check()
        except ForethoughtError as problem:
            errors.append(str(problem))
    if errors:
        raise SweepErrors(path, errors)
    return planned


def _algorithm(entry: AlgorithmEntry, errors: list[str]) -> Any:
    try:
        return entry.settings.construct(entry.given)
    except UsageError as problem:
        errors.append(f"algorithms.{entry.label}: {problem}")
        return None


def _environment(entry: EnvironmentEntry, errors: list[str]) -> Any:
    from forethought.envs.environment import Environment

    try:
        environment = Environment(entry.id, **entry.options)
        environment.open()
        return environment
    except ForethoughtError as problem:
        errors.append(f"environments.{entry.label}: {problem}")
        return None


def _planned(
    file: SweepFile, algorithm: tuple[AlgorithmEntry, Any], environment: tuple[EnvironmentEntry, Any], seed: int
) -> "PlannedRun":
    from forethought.runs.budget import Budget
    from forethought.runs.sweep import PlannedRun

    (learns, settings), (world, opened) = algorithm, environment
    budget = file.budget_of(learns, world)
    words = [learns.kind, world.id, *world.words, *learns.words, f"--seed={seed}"]
    words += ["--until-solved"] if budget.get("until_solved") else []
    words += [f"--{name.replace('_', '-')}={budget[name]}" for name in ("env_steps", "iterations") if name in budget]
    return PlannedRun(file.directory(learns, world, seed), settings, opened, seed, Budget(**budget), tuple(words))


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {value}")
    return value
