"""NumPy archives (.npz) with one array for each quantity; arrays of Python objects are refused, so no code is run.

Names of the arrays, of which the first that exists is used:
    observations, states or x [N, n]          actions or u [N, m]            next_observations or x_next [N, n]
    rewards or reward [N]                     terminals or terminated [N]    timeouts or truncated [N]
    time [N], s                               episode [N]                    dt [], s
    state_names [n], action_names [m]
Row i is one step: the flags belong to the step from row i.  Without next observations the next row holds the next
state, so the step with a flag is the last of its episode, and it is left out because its next state was not recorded.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from forethought.core import Transition, UsageError
from forethought.envs.logged.cutting import Rows, cut
from forethought.envs.logged.data import DataOptions, LoggedData, action_range

NAMES = {
    "x": ("observations", "states", "x"),
    "u": ("actions", "u"),
    "x_next": ("next_observations", "x_next"),
    "reward": ("rewards", "reward"),
    "terminated": ("terminals", "terminated"),
    "truncated": ("timeouts", "truncated"),
    "time": ("time",),
    "episode": ("episode",),
    "dt": ("dt",),
    "state_names": ("state_names",),
    "action_names": ("action_names",),
}


def read_npz(path: Path, options: DataOptions, most_bytes: int) -> LoggedData:
    """The episodes in an archive.

    Raises:
        UsageError: no archive, one that is too large, arrays that are missing or do not fit together, or values that
            are not finite.
    """
    arrays = _load(path, options, most_bytes)
    for name in ("x", "u"):
        if name not in arrays:
            raise UsageError(f"{path.name} has no array '{NAMES[name][0]}' (or {' or '.join(NAMES[name][1:])}).")
    count = len(arrays["x"]) if np.ndim(arrays["x"]) else 0
    x, u = (_matrix(arrays[name], name, path.name) for name in ("x", "u"))
    for name in set(arrays) - {"dt", "state_names", "action_names"}:
        if len(np.atleast_1d(arrays[name])) != count:
            raise UsageError(f"{path.name}: '{name}' has {len(np.atleast_1d(arrays[name]))} rows, and x has {count}.")
    states = _names(arrays.get("state_names"), "x", x.shape[1], path.name)
    actions = _names(arrays.get("action_names"), "u", u.shape[1], path.name)
    dt = options.dt if options.dt is not None or "dt" not in arrays else float(np.asarray(arrays["dt"]).reshape(-1)[0])
    flags = {
        name: np.asarray(arrays[name]).reshape(count) != 0 for name in ("terminated", "truncated") if name in arrays
    }
    rows = Rows(
        x=x,
        u=u,
        reward=np.asarray(arrays["reward"], float).reshape(count) if "reward" in arrays else None,
        last=np.any([*flags.values()], axis=0) if flags else None,
        episode=np.asarray(arrays["episode"]).reshape(count) if "episode" in arrays else None,
        time=np.asarray(arrays["time"], float).reshape(count) if "time" in arrays else None,
    )
    names, x_next = (states, actions), arrays.get("x_next")
    if x_next is None:
        episodes, dt, notes = cut(rows, names, dt, path.name)
        lost = int(flags["terminated"].sum()) if "terminated" in flags else 0
        notes += (
            (f"{lost} terminal state(s) were not recorded; add next_observations to learn from them.",) if lost else ()
        )
    else:
        episodes, dt, notes = _with_next(rows, _matrix(x_next, "x_next", path.name), flags, names, dt, path.name)
    space = action_range(np.concatenate([episode.u for episode in episodes]), actions)
    return LoggedData(path.name, episodes, states, actions, space, dt, rows.reward is not None, notes)


def _load(path: Path, options: DataOptions, most_bytes: int) -> dict[str, np.ndarray]:
    refused = f"{path.name} cannot be read as a NumPy archive"
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
        if size > most_bytes:
            limit = most_bytes / 2**30
            raise UsageError(f"{path.name} holds {size / 2**30:.1f} GiB; up to {limit:.0f} GiB are read: split it.")
        with np.load(path, allow_pickle=False) as archive:
            found = {name: next((k for k in known if k in archive), None) for name, known in NAMES.items()}
            arrays = {name: archive[key] for name, key in found.items() if key is not None}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError) as problem:
        raise UsageError(f"{refused}: {str(problem).splitlines()[0]}") from problem
    fixed = ("dt", "state_names", "action_names")
    return {name: array if name in fixed else array[: options.rows] for name, array in arrays.items()}


def _matrix(values: Any, name: str, source: str) -> np.ndarray:
    """[N, k] numbers; one axis of numbers is a single column."""
    values = np.asarray(values)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or not values.size or not (np.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise UsageError(f"{source}: '{name}' must be numbers [N, k], not {values.dtype} {list(values.shape)}.")
    return values.astype(float)


def _names(given: Any, symbol: str, size: int, source: str) -> tuple[str, ...]:
    names = tuple(map(str, np.asarray(given).reshape(-1))) if given is not None else ()
    if not names:
        return tuple(f"{symbol}[{i}]" for i in range(size))
    if len(names) != size or len(set(names)) != size:
        raise UsageError(
            f"{source}: {len(names)} names were given for the {size} columns of '{symbol}'; give one each."
        )
    return names


def _with_next(
    rows: Rows, x_next: np.ndarray, flags: Mapping[Any, np.ndarray], names: Any, dt: float | None, source: str
) -> tuple[tuple[Transition, ...], float | None, tuple[str, ...]]:
    """Episodes of steps whose next states were recorded; cut also where a next state is not that of the next row."""
    if x_next.shape != rows.x.shape:
        raise UsageError(f"{source}: x_next has shape {list(x_next.shape)}, and x {list(rows.x.shape)}.")
    jumps = ~np.isclose(x_next[:-1], rows.x[1:], rtol=1e-4, atol=1e-5).all(1)
    last = np.append(jumps, True) | (False if rows.last is None else rows.last)
    ends = np.flatnonzero(last)
    # each episode gets one more row, its last next state, so that `cut` checks values and time as for all other logs
    place, fill = np.repeat(np.arange(len(rows.x)), 1 + last), np.zeros(len(rows.x) + len(ends), bool)
    fill[np.arange(len(ends)) + ends + 1] = True
    longer = replace(
        rows,
        x=np.where(fill[:, None], x_next[place], rows.x[place]),
        u=rows.u[place],
        reward=None if rows.reward is None else rows.reward[place],
        terminated=fill & flags["terminated"][place] if "terminated" in flags else None,
        last=fill,
        episode=None if rows.episode is None else rows.episode[place],
        time=None,
    )
    if rows.time is not None:
        _, dt, _ = cut(replace(rows, last=last), names, dt, source)
    episodes, _, notes = cut(longer, names, dt, source)
    return episodes, dt, notes
