"""`metrics.jsonl`: one JSON object per round."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from forethought.algorithms.protocol import Info
from forethought.core import NumericalFailure, Trajectory, Transition
from forethought.envs.env import Env
from forethought.runs.checkpoint import TrainingProgress
from forethought.runs.files import finite, storage_errors, write_whole

# Metrics of these kinds judge the model: one that is not finite means the fit failed.
_JUDGING = ("model_error", "loss", "nll")


def round_line(
    before: TrainingProgress, info: Info, env: Env, wall_s: float
) -> tuple[dict[str, Any], TrainingProgress]:
    """The metrics of a round, and where the run stands after it.

    Args:
        before: where it stood.
        info: what the round did.
        env: what it did it with.
        wall_s: s that the round took.
    Raises:
        NumericalFailure: the return, or a metric that judges the model, is not finite.
    """
    steps = sum(len(episode) for episode in info.episodes)
    returns = [episode_return(episode) for episode in info.episodes]
    solved = is_solved(env, info.episodes[-1]) if info.episodes else before.solved
    after = TrainingProgress(
        iteration=before.iteration + 1,
        env_steps=before.env_steps + steps,
        episodes=before.episodes + len(info.episodes),
        wall_s=before.wall_s + wall_s,
        solved=solved,
    )
    given = {name: None if value is None else float(value) for name, value in info.metrics.items()}
    line = {
        "iteration": after.iteration,
        "env_steps": after.env_steps,
        "episodes": after.episodes,
        "return": returns[-1] if returns else None,
        "return_mean": float(np.mean(returns)) if returns else None,
        "solved": solved,
        "model_error": None,
        **given,
        "wall_s": after.wall_s,
        "experience_s": after.env_steps * float(env.task.dt),
        "steps_per_s": steps / wall_s if wall_s > 0 else None,
        **({"notes": list(info.notes)} if info.notes else {}),
    }
    _check(line)
    return line, after


def append(path: Path, line: dict[str, Any]) -> None:
    """Add a round's metrics; on disk when this returns."""
    with storage_errors(path), open(path, "ab") as file:
        file.write(json.dumps(finite(line), allow_nan=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The metrics of every round; a last line cut off by a crash is left out."""
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    return [json.loads(line) for line in lines[:-1]]


def truncate(path: Path, iteration: int) -> None:
    """Drop what came after round `iteration`: a torn line, or rounds without a checkpoint, which are done again."""
    if not path.exists():
        return
    content = path.read_bytes()
    kept = [line + b"\n" for line in content.split(b"\n")[:-1] if json.loads(line)["iteration"] <= iteration]
    if b"".join(kept) != content:
        write_whole(path, b"".join(kept))


def episode_return(episode: Transition) -> float:
    """The sum of rewards."""
    return float(np.sum(np.asarray(episode.reward), dtype=np.float64))


def is_solved(env: Env, episode: Transition) -> bool | None:
    """Whether an episode meets the task's own test; None where it has none."""
    answer = env.task.solved(Trajectory.of_episode(episode))
    return None if answer is None else bool(answer)


def _check(line: dict[str, Any]) -> None:
    """Raise for a round whose return or model judgment is not finite."""
    if line["return"] is not None and not math.isfinite(line["return"]):
        raise NumericalFailure(f"the return of round {line['iteration']} is not finite ({line['return']}).")
    for name, value in line.items():
        if any(kind in name for kind in _JUDGING) and value is not None and not math.isfinite(value):
            raise NumericalFailure(
                f"the model's '{name}' after round {line['iteration']} is not finite ({value}): the fit diverged. "
                "Look for outliers in the observations, or lower the learning rate."
            )
