"""The role of each column of a table: time, episode, reward, end of an episode, action or state."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from forethought.core import UsageError, nearest
from forethought.envs.logged.data import DataOptions

# Names without units, in lower case.
TIME = ("time", "t", "timestamp")
EPISODE = ("episode", "episode id", "trajectory", "trial")
REWARD = ("reward",)
TERMINATED = ("terminated", "terminal")
ENDED = ("truncated", "timeout", "done")
_ACTION = re.compile(r"(action|control)s?\b.*|u( ?\d+|\[\d+\])?")
_SCALES = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}  # of units of time, s


@dataclass(frozen=True)
class Columns:
    """Names of columns; None for what the table does not have."""

    states: tuple[str, ...]
    actions: tuple[str, ...]
    time: str | None = None
    time_scale: float = 1.0  # s per unit of the time column
    episode: str | None = None
    reward: str | None = None
    terminated: str | None = None
    ended: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """All columns that must be read."""
        single = (self.time, self.episode, self.reward, self.terminated)
        return (*self.states, *self.actions, *(name for name in single if name is not None), *self.ended)


def choose_columns(header: Sequence[str], options: DataOptions, source: str) -> Columns:
    """The role of each column, from its name and from `options`.

    Raises:
        UsageError: names that are missing or equal, or no column that can be an action or a state.
    """
    _check_header(header, source)
    options = _as_written(header, _with_preferred(header, options))
    for kind, names in (("states", options.states), ("actions", options.actions)):
        for name in names or ():
            if name not in header:
                known = ", ".join(header)
                hint = f" ({nearest(name, header)})" if len(header) > 8 else ""
                raise UsageError(f"{source} has no column '{name}', named in {kind}{hint}; its columns are: {known}.")
    taken = {*(options.states or ()), *(options.actions or ())}
    free = [name for name in header if name not in taken]
    time, episode, reward, terminated = (_first(free, names) for names in (TIME, EPISODE, REWARD, TERMINATED))
    ended = tuple(name for name in free if _plain(name) in ENDED)
    special = {time, episode, reward, terminated, *ended}
    rest = [name for name in free if name not in special]
    actions = options.actions or tuple(name for name in rest if _ACTION.fullmatch(_plain(name)))
    states = options.states or tuple(name for name in rest if name not in actions)
    for kind, chosen in (("action", actions), ("state", states)):
        if not chosen:
            raise UsageError(
                f"{source}: no column is known to be {_a(kind)}: name the {kind} columns with --{kind}s NAME ...; the "
                f"columns are: {', '.join(header)}."
            )
    if set(actions) & set(states):
        raise UsageError(f"{source}: column '{min(set(actions) & set(states))}' cannot be both a state and an action.")
    return Columns(states, actions, time, _scale(time, source), episode, reward, terminated, ended)


def _with_preferred(header: Sequence[str], options: DataOptions) -> DataOptions:
    """The options with the preferred columns, where the table has all of them and no others were chosen."""
    written = {with_unit(name): name for name in header}
    for kind, names in zip(("states", "actions"), options.preferred, strict=True):
        if getattr(options, kind) is None and names and set(names) <= written.keys():
            chosen: Any = {kind: tuple(written[name] for name in names)}
            options = replace(options, **chosen)
    return options


def _as_written(header: Sequence[str], options: DataOptions) -> DataOptions:
    """The options with names as in the header, whichever way their units are written."""
    written = {**{with_unit(name): name for name in header}, **{name: name for name in header}}

    def found(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(written.get(name, name) for name in names)

    return replace(options, states=found(options.states), actions=found(options.actions))


def with_unit(name: str) -> str:
    """A column's name with its unit in parentheses: "cart position [m]" is "cart position (m)"."""
    found = re.fullmatch(r"(.*\S)\s*\[([^\[\]\d][^\[\]]*)\]", name.strip())
    return f"{found[1]} ({found[2]})" if found else name.strip()


def _check_header(header: Sequence[str], source: str) -> None:
    if not header:
        raise UsageError(f"{source} is empty: it needs a first row with the names of the columns.")
    if all(map(_is_number, header)):
        raise UsageError(f"{source} has no names of columns: its first row is {', '.join(header[:4])}, ... Add a row "
                         "with one name for each column.")  # fmt: skip
    unnamed = [i + 1 for i, name in enumerate(header) if not name.strip()]
    if unnamed:
        raise UsageError(f"{source}: column {unnamed[0]} has no name; name all {len(header)} columns in the first row.")
    twice = sorted({name for name in header if list(header).count(name) > 1})
    if twice:
        raise UsageError(f"{source} has two columns '{twice[0]}'; give each column its own name.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _plain(name: str) -> str:
    """A name in lower case, without its unit."""
    return re.sub(r"\s*\([^()]*\)$", "", with_unit(name)).replace("_", " ").strip().casefold()


def _first(header: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in header if _plain(name) in names), None)


def _scale(time: str | None, source: str) -> float:
    """Seconds per unit of the time column."""
    if time is None:
        return 1.0
    found = re.search(r"\(([^()]*)\)$", with_unit(time))
    unit = found[1].strip() if found else ""
    if unit not in _SCALES:
        raise UsageError(f"{source}: the unit of '{time}' is unknown; use one of: {', '.join(filter(None, _SCALES))}.")
    return _SCALES[unit]


def _a(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"
