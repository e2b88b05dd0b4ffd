"""Minari data sets on this machine.  The environment that a data set names is never made, and nothing is downloaded."""

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from forethought.core import Box, Discrete, Transition, UsageError, nearest
from forethought.envs.logged.data import DataOptions, LoggedData, action_range

ID = re.compile(r"([-\w]+/)*[-\w]+-v\d+")
OURS = "forethought"  # entry of the metadata that `runs.share` writes: names and time step


def minari_folder(source: str) -> Path | None:
    """The folder `data` of a data set, given by its id or its folder; None if `source` names no data set."""
    for folder in (Path(source), Path(source) / "data"):
        if (folder / "metadata.json").is_file():
            return folder
    if not ID.fullmatch(source) or Path(source).exists():
        return None
    try:
        from minari.storage.datasets_root_dir import get_dataset_path
    except ImportError as problem:
        raise UsageError("reading a Minari data set needs Minari: pip install 'forethought[minari]'.") from problem
    root = get_dataset_path()
    if not (get_dataset_path(source) / "data" / "metadata.json").is_file():
        known = [str(path.parent.parent.relative_to(root)) for path in root.glob("**/data/metadata.json")]
        raise UsageError(f"there is no file and no local Minari data set '{source}'; {nearest(source, known)}. "
                         "`minari download` fetches public ones.")  # fmt: skip
    return get_dataset_path(source) / "data"


def read_minari(folder: Path, source: str, options: DataOptions, most_bytes: int) -> LoggedData:
    """The episodes of a data set.

    Raises:
        UsageError: Minari is not installed, the data set is damaged or too large, or its spaces are not numbers.
    """
    try:
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as problem:
        raise UsageError("reading a Minari data set needs Minari: pip install 'forethought[minari]'.") from problem
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > most_bytes and options.rows is None:
        raise UsageError(
            f"{source} has {size / 2**30:.1f} GiB; data sets of up to {most_bytes / 2**30:.0f} GiB are read as a "
            "whole: read its first rows with --rows N."
        )
    try:
        about = json.loads((folder / "metadata.json").read_bytes())
        if not {"observation_space", "action_space"} <= about.keys():  # Minari would make the environment for them
            raise UsageError(f"{source} does not record its spaces, so it cannot be read without its environment.")
        storage = MinariStorage.read(folder)
        episodes, left = [], options.rows
        for number in range(int(about["total_episodes"])):
            if left is not None and left < 1:
                break
            episode = _episode(next(iter(storage.get_episodes([number]))), storage, left, source, number)
            left = None if left is None else left - len(episode)
            episodes.append(episode)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as problem:
        raise UsageError(f"the Minari data set {source} is damaged: {_line(problem)}") from problem
    if not episodes:
        raise UsageError(f"the Minari data set {source} has no episodes.")
    ours = about.get(OURS) or {}
    states = tuple(ours.get("states") or _names(storage.observation_space, "x"))
    space = _action_space(storage.action_space, episodes, tuple(ours.get("actions") or ()))
    actions = space.names if isinstance(space, Box) else ("action",)
    dt = options.dt if options.dt is not None else ours.get("dt")
    return LoggedData(source, tuple(episodes), states, actions, space, dt, True)


def _episode(record: dict[str, Any], storage: Any, left: int | None, source: str, number: int) -> Transition:
    xs = _flat(storage.observation_space, record["observations"], source)
    u = np.asarray(record["actions"])
    steps = len(u) if left is None else min(left, len(u))
    if len(xs) != len(u) + 1:
        raise UsageError(f"{source}: episode {number} has {len(xs)} observations and {len(u)} actions; one more "
                         "observation than actions is needed.")  # fmt: skip
    for name, values in (("observations", xs), ("actions", u), ("rewards", np.asarray(record["rewards"]))):
        if not np.isfinite(values).all():
            raise UsageError(f"{source}: the {name} of episode {number} are not finite (NaN or infinite).")
    discrete = isinstance(storage.action_space, gym.spaces.Discrete)
    u = (u - storage.action_space.start).astype(np.int32) if discrete else u.reshape(len(u), -1).astype(np.float32)
    terminated, truncated = (np.asarray(record[name], bool)[:steps].copy() for name in ("terminations", "truncations"))
    truncated[-1] = not terminated[-1]
    reward = np.asarray(record["rewards"], np.float32)[:steps]
    return Transition(xs[:steps], u[:steps], xs[1 : steps + 1], reward, terminated, truncated)


def _flat(space: gym.Space, values: Any, source: str) -> np.ndarray:
    """Observations [T + 1, n], the parts of a `Dict` or `Tuple` side by side."""
    if isinstance(space, gym.spaces.Dict):
        return np.concatenate([_flat(part, values[name], source) for name, part in space.spaces.items()], axis=1)
    if isinstance(space, gym.spaces.Tuple):
        return np.concatenate([_flat(part, values[i], source) for i, part in enumerate(space.spaces)], axis=1)
    if not isinstance(space, gym.spaces.Box) or len(space.shape) > 1:
        raise UsageError(
            f"{source} has observations of the space {space}; a model of dynamics needs vectors of numbers."
        )
    values = np.asarray(values)
    return values.reshape(len(values), -1).astype(np.float32)


def _names(space: gym.Space, symbol: str) -> tuple[str, ...]:
    if isinstance(space, gym.spaces.Dict):
        return tuple(name for key, part in space.spaces.items() for name in _names(part, str(key)))
    if isinstance(space, gym.spaces.Tuple):
        return tuple(name for i, part in enumerate(space.spaces) for name in _names(part, f"{symbol}{i}"))
    return tuple(f"{symbol}[{i}]" for i in range(int(np.prod(space.shape or (1,)))))


def _action_space(space: gym.Space, episodes: list[Transition], names: tuple[str, ...]) -> Box | Discrete:
    if isinstance(space, gym.spaces.Discrete):
        return Discrete(int(space.n))
    used = action_range(np.concatenate([episode.u for episode in episodes]), names)
    if not isinstance(space, gym.spaces.Box) or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        return used
    return Box(space.low.reshape(-1).astype(np.float32), space.high.reshape(-1).astype(np.float32), names)


def _line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0]
