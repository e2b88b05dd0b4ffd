"""`fit`: a model of the dynamics from logged data, as a run directory without an environment."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.random as jr

from forethought.algorithms.model_fit import ModelFit, split_episodes
from forethought.core import Regression, Result, Transition, UsageError
from forethought.dynamics.learned import one_step_error
from forethought.dynamics.recalibration import recalibrated
from forethought.envs.episode import join_pieces
from forethought.envs.logged.data import DataOptions, LoggedData
from forethought.envs.logged.logged_env import LoggedEnv
from forethought.models.ensemble import Ensemble
from forethought.runs import checkpoint, metrics, transitions
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.directory import FORMAT, RunDirectory, now
from forethought.runs.logged import open_data
from forethought.runs.names import names_of
from forethought.runs.provenance import git_commit, hardware, versions
from forethought.runs.run import INIT, Run, check_seed, sizes
from forethought.runs.serialization import fingerprint, to_plain


def fit(
    data: str | Path | LoggedData,
    model: Regression = Ensemble(),  # noqa: B008 - an immutable value
    *,
    out: str | Path,
    held_out: float = 0.2,
    recalibrate: bool = False,
    seed: int = 0,
    **options: Any,
) -> Run:
    """Fit `model` to logged data and write a run directory, which `report`, `plan` and `train` can use.

    Args:
        data: a run, a .csv, .parquet or .npz file, a Minari data set, or data that were read before.
        model: settings, such as `Ensemble()`.
        out: the run directory, which must not contain a run.
        held_out: share of the episodes that the model is tested on and not fitted to.
        recalibrate: multiply each predicted std by a temperature, fitted to every second held-out episode.
        seed: of the fit.
        **options: fields of `DataOptions`: states, actions, angles, dt, rows.
    Raises:
        UsageError: data that cannot be used, wrong settings, or a run in `out`; nothing was written.
        NumericalFailure: the fit has no usable answer.
    """
    started = time.perf_counter()
    seed = check_seed(seed)
    algorithm = _settings(model, held_out, recalibrate)
    known = DataOptions(**{name: _tuple(value) for name, value in options.items() if value is not None})
    if not isinstance(data, LoggedData):
        data = open_data(data, known)
    angles = data.angles(known.angles)
    env = LoggedEnv.of(data, angles)
    data = replace(data, notes=(*data.notes, *data.unmarked_angles(angles)))
    directory = RunDirectory(Path(out))
    if directory.exists() or directory.has_experience():
        raise UsageError(f"{directory.path} already contains a run; choose another --out.")
    episodes, held = split_episodes(data.episodes, held_out)
    training = [episode for i, episode in enumerate(episodes) if i not in held]
    key = jr.fold_in(jr.key(seed), INIT)
    learned, report, buffer = algorithm.fit(env, training, key=key)
    Result(report.result).throw()
    if recalibrate:
        unseen = [episodes[i] for i in held][::2]
        dynamics = recalibrated(learned.dynamics, env.space, unseen)
        learned = eqx.tree_at(lambda known: known.dynamics, learned, dynamics)
    tested = join_pieces([episodes[i] for i in held] or training)
    error = float(one_step_error(learned.dynamics, tested, buffer))
    progress = TrainingProgress(1, data.steps, len(episodes), time.perf_counter() - started)
    directory.create()
    numbers = {"model_error": error, **report.metrics}
    with directory.locked():
        _write(directory, algorithm, env, data, episodes, held, learned, progress, numbers, seed)
    return Run(directory.path, algorithm=algorithm, env=env, restored=(learned, progress))


def _settings(model: Any, held_out: float, recalibrate: bool) -> ModelFit:
    if not isinstance(model, Regression):
        raise UsageError(f"model must be the settings of one, such as ft.Ensemble(), not {model!r}.")
    try:
        return ModelFit(model, held_out, recalibrate)
    except ValueError as problem:
        raise UsageError(str(problem)) from problem


def _tuple(value: Any) -> Any:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else value


def _write(
    directory: RunDirectory,
    algorithm: ModelFit,
    env: LoggedEnv,
    data: LoggedData,
    episodes: list[Transition],
    held: list[int],
    learned: Any,
    progress: TrainingProgress,
    numbers: dict[str, float],
    seed: int,
) -> None:
    about = {"env": env.name, "iteration": 1, **names_of(env), **({"dt": data.dt} if data.dt else {})}
    for i, episode in enumerate(episodes):
        transitions.save_episode(directory.transitions, i + 1, episode, about)
    name = Path(env.name).name
    record = {"spec": None, "name": name, "cost": None, "termination": None, "angles": list(env.space.angles)}
    identity = {"algorithm": to_plain(algorithm, "algorithm"), "env": record, "seed": seed}
    settings = fingerprint(identity)
    steps = {"env_steps": data.steps, "episodes": len(episodes)}
    seconds = {"wall_s": progress.wall_s, "experience_s": data.steps * float(env.task.dt)}
    line = {"iteration": 1, **steps, "return": None, "return_mean": None, "solved": None, **numbers, **seconds}
    metrics.append(directory.metrics_path, line)
    checkpoint.save(directory.checkpoints, learned, progress, settings)
    directory.write_info(
        {
            "format": FORMAT,
            **identity,
            "fingerprint": settings,
            "sizes": sizes(env),
            "logged": {**env.record(), "held_out": [i + 1 for i in held], "notes": list(data.notes)},
            "versions": versions(),
            "git": git_commit(),
            "hardware": hardware(),
            "created": now(),
            "budget": {"iterations": 1, "env_steps": None, "until_solved": False},
            "standing": {**vars(progress), "experience_s": seconds["experience_s"]},
            "status": "done",
            "reason": None,
        }
    )
