"""`metrics.jsonl`: one JSON object per round."""

import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from forethought.algorithms.protocol import Info
from forethought.core import NumericalFailure, Trajectory, Transition
from forethought.envs.env import Env
from forethought.envs.violations import Violations
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.files import finite, open_own, storage_errors, write_whole

# Metrics with these prefixes measure the model; if one is not finite, the fit failed.
_OF_THE_MODEL = ("model_error", "loss", "nll")


def round_line(
    before: TrainingProgress, info: Info, env: Env, wall_s: float
) -> tuple[dict[str, Any], TrainingProgress]:
    """The metrics of a round, and the progress of the run after it.

    `return` is that of the round's last whole episode; `return_mean` is the mean over all of them, those of which
    only a summary is kept too.

    Args:
        before: progress before the round.
        info: results of the round.
        env: the environment.
        wall_s: duration of the round, s.
    Raises:
        NumericalFailure: the return, or a metric of the model, is not finite.
    """
    steps = sum(len(episode) for episode in info.episodes)
    returns = [episode_return(episode) for episode in info.episodes]
    summarized = [] if info.summary is None else [float(value) for value in info.summary.returns]
    steps += 0 if info.summary is None else info.summary.steps
    solved = is_solved(env, info.episodes[-1]) if info.episodes else before.solved
    after = TrainingProgress(
        iteration=before.iteration + 1,
        env_steps=before.env_steps + steps,
        episodes=before.episodes + len(info.episodes) + len(summarized),
        summarized=before.summarized + len(summarized),
        wall_s=before.wall_s + wall_s,
        solved=solved,
    )
    violated = Violations.of(env.task, info.episodes)
    given = {name: None if value is None else float(value) for name, value in info.metrics.items()}
    line = {
        "iteration": after.iteration,
        "env_steps": after.env_steps,
        "episodes": after.episodes,
        "return": (summarized + returns)[-1] if summarized or returns else None,
        "return_mean": float(np.mean(summarized + returns)) if summarized or returns else None,
        "solved": solved,
        "model_error": None,
        **given,
        **({} if violated is None else violated.metrics),
        "wall_s": after.wall_s,
        "experience_s": after.env_steps * float(env.task.dt),
        "steps_per_s": steps / wall_s if wall_s > 0 else None,
        **({"notes": list(info.notes)} if info.notes else {}),
    }
    _check(line)
    return line, after


def append(path: Path, line: dict[str, Any]) -> None:
    """Append a round's metrics and flush them to disk."""
    with storage_errors(path), os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab") as file:
        file.write(_encoded(line))
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The metrics of every round.  Incomplete lines are skipped with a warning."""
    lines, notice = _parse(path)
    if notice:
        warnings.warn(notice, stacklevel=2)
    return lines


def truncate(path: Path, iteration: int) -> str | None:
    """Delete the lines of rounds after `iteration`, and incomplete lines; returns a notice about the latter."""
    lines, notice = _parse(path)
    content = b"".join(_encoded(line) for line in lines if line["iteration"] <= iteration)
    if path.exists() and content != path.read_bytes():
        write_whole(path, content)
    return notice


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(finite(line), allow_nan=False).encode() + b"\n"


def _parse(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The complete lines, and a sentence about the others: a power failure leaves incomplete and blank lines."""
    rows = path.read_bytes().split(b"\n") if path.exists() else []
    if rows and not rows[-1]:
        rows.pop()  # the text after the last newline
        whole = [_whole(row) for row in rows]
    else:
        whole = [*(_whole(row) for row in rows[:-1]), *([None] if rows else [])]  # a line without newline is incomplete
    torn = [str(number) for number, line in enumerate(whole, start=1) if line is None]
    lines = [line for line in whole if line is not None]
    if not torn:
        return lines, None
    which = f"line{'s' if len(torn) > 1 else ''} {', '.join(torn)}"
    return lines, f"{path}: {which} of {len(whole)} skipped: incomplete (as after a power failure)."


def _whole(row: bytes) -> dict[str, Any] | None:
    """A line's content; None if it is incomplete, blank or not a line of metrics."""
    try:
        line = json.loads(row)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("iteration"), int) else None


def episode_return(episode: Transition) -> float:
    """The sum of rewards."""
    return float(np.sum(np.asarray(episode.reward), dtype=np.float64))


def is_solved(env: Env, episode: Transition) -> bool | None:
    """Whether an episode passes the task's success test; None if the task has none."""
    answer = env.task.solved(Trajectory.of_episode(episode))
    return None if answer is None else bool(answer)


def _check(line: dict[str, Any]) -> None:
    """Raise `NumericalFailure` for a round whose return or metric of the model is not finite."""
    if line["return"] is not None and not math.isfinite(line["return"]):
        raise NumericalFailure(f"the return of round {line['iteration']} is not finite ({line['return']}).")
    for name, value in line.items():
        if any(kind in name for kind in _OF_THE_MODEL) and value is not None and not math.isfinite(value):
            raise NumericalFailure(
                f"the model's '{name}' after round {line['iteration']} is not finite ({value}): the fit diverged. "
                "Look for outliers in the observations, or lower the learning rate."
            )
