"""From the rows of a log to episodes: cut at gaps in time and at marks, with the time step inferred and checked.

Row i holds the state x_i, the action u_i taken in it and the reward of this step; the next row holds the next state.
An episode of T steps has T + 1 rows, the last of which needs neither action nor reward.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from forethought.core import Transition, UsageError

GAP = 1.5  # time between two rows, in time steps, from which they belong to different episodes
JITTER = 0.1  # relative deviation from the time step that is tolerated
UNEVEN = 0.05  # share of larger deviations from which the time step counts as varying
MOST_GAPS = 0.2  # share of gaps from which the time step counts as varying
CONTRADICTION = 0.02  # relative difference between the inferred and the given time step that is an error


@dataclass(frozen=True)
class Rows:
    """Rows in order of time; None for what was not recorded."""

    x: Float[np.ndarray, "N n"]
    u: Float[np.ndarray, "N m"]
    reward: Float[np.ndarray, "N"] | None = None
    terminated: Bool[np.ndarray, "N"] | None = None  # the row's state is terminal; it is the last of its episode
    last: Bool[np.ndarray, "N"] | None = None  # the row is the last of its episode
    episode: Shaped[np.ndarray, "N"] | None = None  # changes from one episode to the next
    time: Float[np.ndarray, "N"] | None = None  # s


def cut(
    rows: Rows, names: tuple[tuple[str, ...], tuple[str, ...]], dt: float | None, source: str
) -> tuple[tuple[Transition, ...], float | None, tuple[str, ...]]:
    """Episodes, the time step in s (None if nothing tells it), and notes for the user.

    Args:
        rows: the log.
        names: of the states and of the actions, for messages.
        dt: time step that was given, s.
        source: name of the log, for messages.
    Raises:
        UsageError: fewer than two rows in a sequence, values that are not finite, or no single time step.
    """
    together = _marks(rows)
    dt, gaps = _time_step(rows.time, together, dt, source)
    notes = [f"{gaps.sum()} gap(s) or jumps in time: the episodes are cut there."] if gaps.any() else []
    begins = np.flatnonzero(np.concatenate([[True], ~together | gaps]))
    ends = np.append(begins[1:], len(rows.x))  # exclusive
    single = ends - begins < 2
    if single.all():
        raise UsageError(f"{source} has no two rows in sequence, so it holds no transition.")
    if single.any():
        notes.append(f"{single.sum()} episode(s) of a single row were left out.")
    spans = [(int(b), int(e)) for b, e in zip(begins[~single], ends[~single], strict=True)]
    _require_finite(rows, spans, names, source)
    return tuple(_episode(rows, *span) for span in spans), dt, tuple(notes)


def _marks(rows: Rows) -> Bool[np.ndarray, "N1"]:
    """Whether rows i and i + 1 belong to one episode, by all marks except time."""
    together = np.ones(max(len(rows.x) - 1, 0), bool)
    if rows.episode is not None:
        together &= rows.episode[1:] == rows.episode[:-1]
    for flags in (rows.terminated, rows.last):
        if flags is not None:
            together &= ~flags[:-1]
    return together


def _time_step(
    time: Float[np.ndarray, "N"] | None, together: Bool[np.ndarray, "N1"], given: float | None, source: str
) -> tuple[float | None, Bool[np.ndarray, "N1"]]:
    """The time step, and where the time has a gap or goes backwards."""
    if time is None or not together.any():
        return given, np.zeros_like(together)
    wrong = np.flatnonzero(~np.isfinite(time))
    if wrong.size:
        raise UsageError(f"{source}: the time in row {wrong[0] + 1} is missing or not a number.")
    steps = np.diff(time)
    forward = steps[together & (steps > 0)]
    if not forward.size:
        raise UsageError(f"{source}: the time never increases from one row to the next.")
    dt = float(f"{np.median(forward):.4g}")
    gaps = together & ((steps <= 0) | (steps > GAP * dt))
    regular = steps[together & ~gaps]
    uneven = np.mean(np.abs(regular / dt - 1) > JITTER) if regular.size else 1.0
    if uneven > UNEVEN or np.sum(gaps & (steps > 0)) > MOST_GAPS * together.sum():
        low, high = np.quantile(forward, (0.05, 0.95))
        raise UsageError(
            f"{source}: the time step varies: the middle 90% are from {low:.3g} to {high:.3g} s, the median is {dt:g} "
            "s. Resample the data to a constant time step."
        )
    if given is not None and abs(given / dt - 1) > CONTRADICTION:
        raise UsageError(f"{source}: the time column has steps of {dt:g} s, and a time step of {given:g} s was given.")
    return (dt if given is None else given), gaps


def _require_finite(
    rows: Rows, spans: list[tuple[int, int]], names: tuple[tuple[str, ...], tuple[str, ...]], source: str
) -> None:
    """Raise `UsageError` for a value that is missing or not finite; the last row of an episode needs only its state."""
    needed = np.zeros(len(rows.x), bool)
    inner = needed.copy()
    for begin, end in spans:
        needed[begin:end] = True
        inner[begin : end - 1] = True
    reward = None if rows.reward is None else rows.reward[:, None]
    for values, used, labels in ((rows.x, needed, names[0]), (rows.u, inner, names[1]), (reward, inner, ("reward",))):
        if values is None:
            continue
        wrong = np.argwhere(~np.isfinite(values) & used[:, None])
        if wrong.size:
            row, column = wrong[0]
            what = "missing or not a number (NaN)" if np.isnan(values[row, column]) else "infinite"
            more = f" ({len(wrong)} such values in all)" if len(wrong) > 1 else ""
            raise UsageError(f"{source}: '{labels[column]}' is {what} in row {row + 1}{more}. Remove these rows, and "
                             "number the remaining stretches in a column 'episode'.")  # fmt: skip


def _episode(rows: Rows, begin: int, end: int) -> Transition:
    """The transitions between rows `begin` .. `end - 1`."""
    steps = end - begin - 1
    reward = np.zeros(steps, np.float32) if rows.reward is None else rows.reward[begin : end - 1].astype(np.float32)
    terminated, truncated = np.zeros(steps, bool), np.zeros(steps, bool)
    terminated[-1] = rows.terminated is not None and rows.terminated[end - 1]
    truncated[-1] = not terminated[-1]
    x = rows.x[begin:end].astype(np.float32)
    return Transition(x[:-1], rows.u[begin : end - 1].astype(np.float32), x[1:], reward, terminated, truncated)
