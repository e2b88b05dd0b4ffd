"""The real experience on disk: one safetensors file per episode, numbered in order of time.

`episode-000012.safetensors` is the twelfth whole episode; `partial-000012.safetensors` holds the steps of a twelfth
episode in which the environment failed.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from forethought.core import CheckpointError, Transition
from forethought.runs.files import write_whole

NAME = re.compile(r"episode-(\d+)\.safetensors")
CHECKSUM = "sha256"
FIELDS = ("x", "u", "x_next", "reward", "terminated", "truncated")


def save_episode(
    folder: Path, number: int, episode: Transition, about: dict[str, Any], *, partial: bool = False
) -> Path:
    """Write an episode (leading axis [T]) and return its path.

    Args:
        folder: `transitions/` of the run.
        number: 1 for the run's first episode.
        episode: the steps.
        about: plain values stored with it, such as the environment's name.
        partial: whether the environment failed during the episode; such a file never replaces another.
    Raises:
        StorageError: the file cannot be written.
    """
    path = folder / f"{'partial' if partial else 'episode'}-{number:06d}.safetensors"
    attempt = 2
    while partial and path.exists():
        path = folder / f"partial-{number:06d}-{attempt}.safetensors"
        attempt += 1
    arrays = {name: np.asarray(getattr(episode, name), order="C") for name in FIELDS}
    # one entry, because safetensors does not keep the order of entries
    metadata = {"about": json.dumps({**about, CHECKSUM: _checksum(arrays)})}
    write_whole(path, safetensors.numpy.save(arrays, metadata))
    return path


def load_episode(path: Path) -> Transition:
    """Read an episode: NumPy arrays with leading axis [T].

    Raises:
        CheckpointError: the file is damaged.
    """
    damaged = CheckpointError(f"{path} is damaged: it is not an episode as training wrote it.")
    try:
        content = path.read_bytes()
        arrays = safetensors.numpy.load(content)
        episode = Transition(**{name: arrays[name] for name in FIELDS})
        checksum = _about(content).get(CHECKSUM)
    except (safetensors.SafetensorError, KeyError, ValueError) as problem:
        raise damaged from problem
    if checksum is not None and checksum != _checksum(arrays):  # earlier versions wrote no checksum
        raise damaged
    return episode


def about_episode(path: Path) -> dict[str, Any]:
    """The values stored with an episode: `env` (the environment's name), `iteration`, and `dt` in s."""
    return {name: value for name, value in _about(path.read_bytes()).items() if name != CHECKSUM}


def load_episodes(folder: Path) -> list[Transition]:
    """All whole episodes in order."""
    return [load_episode(path) for _, path in _episodes(folder)]


def drop_after(folder: Path, episodes: int) -> None:
    """Remove episodes after the first `episodes`: they belong to a round without a checkpoint, which is repeated."""
    for number, path in _episodes(folder):
        if number > episodes:
            path.unlink()


def damaged_episodes(folder: Path, episodes: int) -> list[str]:
    """Names of missing or damaged files among the first `episodes`."""
    there, wrong = dict(_episodes(folder)), []
    for number in range(1, episodes + 1):
        path = there.get(number, folder / f"episode-{number:06d}.safetensors")
        try:
            load_episode(path)
        except (CheckpointError, OSError):
            wrong.append(path.name)
    return wrong


def _episodes(folder: Path) -> list[tuple[int, Path]]:
    """The numbers and files of the episodes, in order; all other files are ignored."""
    named = ((NAME.fullmatch(path.name), path) for path in folder.glob("episode-*.safetensors"))
    return sorted((int(match[1]), path) for match, path in named if match)


def _about(content: bytes) -> dict[str, Any]:
    """The metadata in the header of a safetensors file: its length in 8 bytes, then JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return json.loads(header["__metadata__"]["about"])


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in FIELDS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape} ".encode() + arrays[name].tobytes())
    return digest.hexdigest()
