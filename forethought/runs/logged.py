"""Logged data from files, data sets and runs, and their episodes in the terms of an environment."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from forethought.core import Box, Discrete, Transition, UsageError, step_cost
from forethought.envs.env import Env, spaces_of
from forethought.envs.episode import join_pieces
from forethought.envs.logged.cutting import CONTRADICTION
from forethought.envs.logged.data import DataOptions, LoggedData, action_range
from forethought.envs.logged.read import MOST_BYTES, read_data
from forethought.runs import transitions


def open_data(source: str | Path, options: DataOptions = DataOptions(), *, most_bytes: int = MOST_BYTES) -> LoggedData:  # noqa: B008
    """The episodes of a run (its directory or its `transitions/`), a file, or a Minari data set.

    Raises:
        UsageError: there are no such data, or they cannot be used; the message is one line with the reason.
    """
    folder = _transitions(Path(source))
    data = (
        _of_run(folder, str(source), options, most_bytes)
        if folder
        else read_data(source, options, most_bytes=most_bytes)
    )
    return _renamed(data, options) if folder or not _is_table(source) else data


def episodes_for(data: LoggedData, env: Env) -> tuple[list[Transition], tuple[str, ...]]:
    """The episodes as `env` would have recorded them, and notes for the user.

    Coordinates are matched by their names where the data have all names of the environment, else by their order.
    Rewards are those of the environment's cost where it is known.

    Raises:
        UsageError: other coordinates, units or time step than those of `env`, or no rewards where they are needed.
    """
    spaces, task = spaces_of(env), env.task
    if not spaces.observations.is_vector:
        raise UsageError(f"{env.name} observes {spaces.observations}; logged data are vectors of real numbers.")
    if data.dt is not None and abs(data.dt / task.dt - 1) > CONTRADICTION:
        raise UsageError(f"{data.source} has time steps of {data.dt:g} s, and {env.name} of {task.dt:g} s: resample "
                         "the data to the time step of the environment.")  # fmt: skip
    if env.learn_reward and not data.rewarded:
        raise UsageError(f"{data.source} has no rewards, and the reward of {env.name} must be learned: add a column "
                         "'reward', or give the cost (--cost).")  # fmt: skip
    xs, notes = _matched(data.states, env.space.names, "state", data.source, env.name)
    notes += () if data.dt is not None else (f"{data.source} has no time step; {task.dt:g} s is assumed.",)
    if isinstance(task.action_space, Box):
        places, more = _matched(data.actions, task.action_space.names, "action", data.source, env.name)
        notes += more + _beyond(task.action_space, data, places)
        us = [_real(episode.u, places) for episode in data.episodes]
    else:
        us = [_discrete(episode.u, task.action_space, data.source, env.name) for episode in data.episodes]
    found = [
        _replaced(episode, x=episode.x[:, xs], u=u, x_next=episode.x_next[:, xs])
        for episode, u in zip(data.episodes, us, strict=True)
    ]
    return (found if env.learn_reward else _with_costs(env, found)), notes


def digest(episodes: Sequence[Transition]) -> str:
    """A hash of all values, which identifies data when a run is resumed."""
    found = hashlib.sha256()
    for episode in episodes:
        for name in transitions.FIELDS:
            array = np.asarray(getattr(episode, name), order="C")
            found.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return found.hexdigest()


def _transitions(path: Path) -> Path | None:
    """The folder of episodes that a path names; None if it names none."""
    for folder in (path / "transitions", path):
        if folder.is_dir() and any(folder.glob("episode-*.safetensors")):
            return folder
    return None


def _of_run(folder: Path, source: str, options: DataOptions, most_bytes: int) -> LoggedData:
    size = sum(path.stat().st_size for path in folder.glob("episode-*.safetensors"))
    if size > most_bytes:
        raise UsageError(
            f"{source} has {size / 2**30:.1f} GiB of episodes; up to {most_bytes / 2**30:.0f} GiB are read."
        )
    episodes = transitions.load_episodes(folder)
    about = transitions.about_episode(sorted(folder.glob("episode-*.safetensors"))[0])
    first = episodes[0]
    if first.x.ndim != 2 or not np.issubdtype(first.x.dtype, np.floating):
        raise UsageError(f"{source} has observations of shape {list(first.x.shape[1:])} ({first.x.dtype}); logged data "
                         "are vectors of real numbers.")  # fmt: skip
    if options.rows is not None:
        before = np.cumsum([0, *map(len, episodes)])
        episodes = [e for e, begun in zip(episodes, before, strict=False) if begun < options.rows]
    us = np.concatenate([episode.u for episode in episodes])
    states = tuple(about.get("states") or (f"x[{i}]" for i in range(first.x.shape[1])))
    if us.ndim == 1:
        space: Box | Discrete = Discrete(int(about.get("choices") or us.max() + 1))
        actions: tuple[str, ...] = ("action",)
    else:
        actions = tuple(about.get("actions") or (f"u[{j}]" for j in range(us.shape[1])))
        space = action_range(us, actions)
        if "low" in about:
            space = Box(np.asarray(about["low"], np.float32), np.asarray(about["high"], np.float32), actions)
    dt = options.dt or about.get("dt")
    if options.dt and about.get("dt") and abs(options.dt / about["dt"] - 1) > CONTRADICTION:
        raise UsageError(
            f"{source} has time steps of {about['dt']:g} s, and a time step of {options.dt:g} s was given."
        )
    return LoggedData(source, tuple(episodes), states, actions, space, dt, rewarded=True)


def _is_table(source: str | Path) -> bool:
    """Whether the names of `DataOptions` choose columns; for other data they name the coordinates."""
    return Path(source).suffix.lower() not in (".npz", "") and Path(source).is_file()


def _renamed(data: LoggedData, options: DataOptions) -> LoggedData:
    for kind in ("states", "actions"):
        names = getattr(options, kind)
        if names is None:
            continue
        if len(names) != len(getattr(data, kind)):
            raise UsageError(f"{data.source} has {len(getattr(data, kind))} {kind}, and {len(names)} names were given.")
        data = replace(data, **{kind: names})
    if options.actions is not None and isinstance(data.action_space, Box):
        box = data.action_space
        data = replace(data, action_space=Box(box.low, box.high, options.actions))
    return data


def _matched(
    have: tuple[str, ...], want: tuple[str, ...], kind: str, source: str, env: str
) -> tuple[list[int], tuple[str, ...]]:
    """Which of the coordinates that the data have are those that the environment wants."""
    if set(want) <= set(have):
        return [have.index(name) for name in want], ()
    if len(have) != len(want):
        raise UsageError(
            f"{source} has {len(have)} {kind}s ({', '.join(have)}), and {env} has {len(want)} ({', '.join(want)}): "
            "name the columns as the environment does."
        )
    for mine, theirs in zip(have, want, strict=True):
        (stem, unit), (other_stem, other_unit) = _parts(mine), _parts(theirs)
        if stem == other_stem and unit and other_unit and unit != other_unit:  # without one, it is the same
            raise UsageError(f"{source} has '{mine}', and {env} has '{theirs}': convert the data to the same unit.")
    anonymous = all(name.endswith("]") for name in have) or all(name.endswith("]") for name in want)
    pairs = ", ".join(f"{mine} as {theirs}" for mine, theirs in zip(have, want, strict=True))
    return list(range(len(want))), () if anonymous else (f"{kind}s are matched by their order: {pairs}.",)


def _parts(name: str) -> tuple[str, str]:
    """A name's stem and unit."""
    stem, bracket, unit = name.rpartition(" (")
    return (stem, unit.rstrip(")")) if bracket else (name, "")


def _beyond(space: Box, data: LoggedData, places: list[int]) -> tuple[str, ...]:
    """A note on actions beyond the limits."""
    us = np.concatenate([_real(episode.u, places) for episode in data.episodes])
    low, high = np.asarray(space.low), np.asarray(space.high)
    slack = 1e-3 * np.where(np.isfinite(high - low), high - low, 1)
    share = float(np.mean(((us < low - slack) | (us > high + slack)).any(1)))
    return (
        (f"{100 * share:.0f}% of the actions in {data.source} are beyond the limits of the environment.",)
        if share
        else ()
    )


def _real(us: np.ndarray, places: list[int]) -> Float[np.ndarray, "T m"]:
    return (us if us.ndim == 2 else us[:, None]).astype(np.float32)[:, places]


def _discrete(us: np.ndarray, space: Any, source: str, env: str) -> np.ndarray:
    """Numbers of discrete actions [T]."""
    us = us[:, 0] if us.ndim == 2 and us.shape[1] == 1 else us
    if us.ndim != 1 or (us != np.round(us)).any() or us.min() < 0 or us.max() >= space.n:
        raise UsageError(
            f"{source}: the actions of {env} are the whole numbers from 0 to {space.n - 1}, in one column."
        )
    return us.astype(np.int32)


def _replaced(episode: Transition, **parts: Any) -> Transition:
    """The episode with other arrays."""
    return Transition(**{name: parts.get(name, getattr(episode, name)) for name in transitions.FIELDS})


def _with_costs(env: Env, episodes: list[Transition]) -> list[Transition]:
    """The episodes with rewards of the environment's own cost."""
    rows = join_pieces(episodes)
    t = np.concatenate([np.arange(len(episode)) for episode in episodes])
    charge = jax.vmap(lambda x, u, x_next, t: step_cost(env.task, x, u, x_next, t))
    rewards = -np.asarray(charge(*map(jnp.asarray, (rows.x, rows.u, rows.x_next, t))))
    ends = np.cumsum([len(episode) for episode in episodes])[:-1]
    return [_replaced(e, reward=r) for e, r in zip(episodes, np.split(rewards, ends), strict=True)]
