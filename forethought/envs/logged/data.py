"""Logged data: real episodes that were recorded by other programs, with the names of their coordinates."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from forethought.core import Box, Discrete, Transition, UsageError, nearest


@dataclass(frozen=True)
class DataOptions:
    """What a file does not say about its data; None for what it says, or what does not matter."""

    states: tuple[str, ...] | None = None  # names of the state columns, in order
    actions: tuple[str, ...] | None = None  # names of the action columns, in order
    angles: tuple[str, ...] = ()  # states that are angles in radians, by name or by index
    dt: float | None = None  # time step, s
    rows: int | None = None  # rows that are read at most
    preferred: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())  # states and actions of a table that has all of them

    def __post_init__(self):
        """Check numbers and names.

        Raises:
            UsageError: a time step or number of rows that is not positive, or a name that is given twice.
        """
        if self.dt is not None and not 0 < self.dt < float("inf"):
            raise UsageError(f"the time step must be a positive number of seconds, not {self.dt}.")
        if self.rows is not None and self.rows < 2:
            raise UsageError(f"at least 2 rows must be read, not {self.rows}.")
        for kind in ("states", "actions", "angles"):
            names = getattr(self, kind) or ()
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise UsageError(f"{kind}: '{twice[0]}' is named twice.")


@dataclass(frozen=True)
class LoggedData:
    """Recorded episodes, and what is known about them."""

    source: str  # name of the file or data set
    episodes: tuple[Transition, ...]  # each with leading axis [T]: NumPy arrays, x [T, n], u [T, m] or [T]
    states: tuple[str, ...]  # names of the n coordinates, with units where known: "cart position (m)"
    actions: tuple[str, ...]  # names of the m coordinates of an action
    action_space: Box | Discrete  # limits as recorded, or the range of the recorded actions
    dt: float | None  # time step, s; None where nothing tells it
    rewarded: bool  # whether rewards were recorded; they are zero otherwise
    notes: tuple[str, ...] = ()  # for the user: what was cut or left out

    @property
    def steps(self) -> int:
        """Transitions in all episodes."""
        return sum(map(len, self.episodes))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the states."""
        return np.asarray(self.episodes[0].x).dtype

    def angles(self, named: tuple[str, ...]) -> tuple[int, ...]:
        """The indices of the states that are named, by name or by index.

        Raises:
            UsageError: an unknown name.
        """
        return tuple(sorted({self._index(name) for name in named}))

    def unmarked_angles(self, angles: tuple[int, ...]) -> tuple[str, ...]:
        """Notes on states with the unit rad that jump by a full turn and are not among `angles`."""
        found = []
        for i, name in enumerate(self.states):
            if i in angles or not name.endswith("(rad)"):
                continue
            change = np.concatenate([episode.x_next[:, i] - episode.x[:, i] for episode in self.episodes])
            if (np.abs(np.abs(change) - 2 * np.pi) < 0.5).any():
                found.append(f"'{name}' jumps by a full turn, as an angle does: name it with --angles.")
        return tuple(found)

    def _index(self, name: str) -> int:
        if name in self.states:
            return self.states.index(name)
        if name.isdecimal() and int(name) < len(self.states):
            return int(name)
        raise UsageError(f"{self.source} has no state '{name}'; {nearest(name, self.states)}")


def action_range(us: Float[np.ndarray, "N m"], names: tuple[str, ...]) -> Box:
    """The range of recorded actions; at least a small one, so that it can be normalized."""
    low, high = us.min(0), us.max(0)
    still = high - low < 1e-6
    return Box((low - still).astype(np.float32), (high + still).astype(np.float32), names)
