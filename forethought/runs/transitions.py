"""The real experience on disk: one safetensors file per episode, in the order they were lived.

`episode-000012.safetensors` is the twelfth whole episode; `partial-000012.safetensors` holds the steps before the
environment failed in what would have become it.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from forethought.core import CheckpointError, Transition
from forethought.runs.files import write_whole

FIELDS = ("x", "u", "x_next", "reward", "terminated", "truncated")


def save_episode(
    folder: Path, number: int, episode: Transition, about: dict[str, Any], *, partial: bool = False
) -> Path:
    """Write an episode (leading axis [T]); the path it went to.

    Args:
        folder: `transitions/` of the run.
        number: 1 for the run's first episode.
        episode: the steps.
        about: plain values kept with it, such as the environment's name.
        partial: the environment failed on the way; such a file never replaces another.
    Raises:
        StorageError: it cannot be written.
    """
    path = folder / f"{'partial' if partial else 'episode'}-{number:06d}.safetensors"
    attempt = 2
    while partial and path.exists():
        path = folder / f"partial-{number:06d}-{attempt}.safetensors"
        attempt += 1
    arrays = {name: np.asarray(getattr(episode, name), order="C") for name in FIELDS}
    metadata = {"about": json.dumps(about)}  # one entry: safetensors does not keep their order
    write_whole(path, safetensors.numpy.save(arrays, metadata))
    return path


def load_episode(path: Path) -> Transition:
    """An episode as it was saved, NumPy arrays with leading axis [T].

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        arrays = safetensors.numpy.load(path.read_bytes())
        return Transition(**{name: arrays[name] for name in FIELDS})
    except (safetensors.SafetensorError, KeyError) as problem:
        raise CheckpointError(f"{path} is damaged: it is not an episode that training wrote.") from problem


def about_episode(path: Path) -> dict[str, Any]:
    """What was noted with an episode: the environment's `env`, the `iteration`, and `dt` in s."""
    with safetensors.safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["about"])


def load_episodes(folder: Path) -> list[Transition]:
    """All whole episodes in order."""
    return [load_episode(path) for path in sorted(folder.glob("episode-*.safetensors"))]


def drop_after(folder: Path, episodes: int) -> None:
    """Remove episodes after the first `episodes`: they are of a round without a checkpoint, which is done again."""
    for path in folder.glob("episode-*.safetensors"):
        if int(path.stem.partition("-")[2]) > episodes:
            path.unlink()
