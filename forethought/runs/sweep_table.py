"""What is shown during a sweep: a live table on a terminal, lines elsewhere."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from forethought.runs.progress import QUIET_S, TimeLeft, duration, number, say
from forethought.runs.sweep import RunState, Status

ORDER: tuple[Status, ...] = ("failed", "running", "elsewhere", "waiting", "done")  # of the rows
WORDS = {"elsewhere": "in another process"}
AROUND = 6  # lines of the terminal that the rows of the table leave free
REFRESH_S = 0.5  # between two drawings of the table


class SweepLines:
    """For logs: a line for each run that begins, ends or fails, and the progress of the others now and then."""

    def __init__(self, say: Callable[[str], None] = say):
        self.say = say
        self.last = time.monotonic()

    def __enter__(self) -> "SweepLines":
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        del kind, problem, trace

    def began(self, state: RunState) -> None:
        goes_on = f" after round {state.line['iteration']}" if state.line else ""
        self.notice(f"{state.planned.name}: {'continues' if goes_on else 'begins'}{goes_on}")

    def ended(self, state: RunState) -> None:
        if state.status == "failed":
            self.notice(f"{state.planned.name}: failed: {state.reason}; log: {state.planned.log}")
            return
        line = state.line
        steps, value = line.get("env_steps", 0), number(line.get("return"))
        self.notice(f"{state.planned.name}: done, env steps {steps}, return {value}, {duration(line.get('wall_s'))}")

    def again(self, state: RunState) -> None:
        self.notice(
            f"{state.planned.name}: attempt {state.attempts} failed: {state.reason}; another follows; "
            f"log: {state.planned.log}"
        )

    def refresh(self, states: Sequence[RunState]) -> None:
        if time.monotonic() - self.last >= QUIET_S:
            shown = [f"{s.planned.name} {s.share:.0%}" for s in states if s.status == "running"]
            self.notice("; ".join([counted(states), *shown]))

    def notice(self, text: str) -> None:
        self.say(text)
        self.last = time.monotonic()

    def hint(self, text: str) -> None:
        self.notice(text)


class SweepTable(SweepLines):
    """For terminals: a table of all runs that fits the screen; failures also as lines above it."""

    def __init__(self, console: Any):
        from rich.live import Live

        super().__init__(lambda text: console.print(text, markup=False, highlight=False))
        self.console = console
        self.left = TimeLeft()
        self.drawn = 0.0
        self.live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> "SweepTable":
        self.live.start()
        return self

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        del kind, problem, trace
        self.live.stop()

    def began(self, state: RunState) -> None:
        del state  # the table shows it

    def refresh(self, states: Sequence[RunState]) -> None:
        now = time.monotonic()
        if now - self.drawn < REFRESH_S:
            return
        self.drawn = now
        self.left.mark(sum(share_of(state) for state in states) / max(len(states), 1), now)
        self.live.update(table_of(states, self.left(now), self.console.height - AROUND), refresh=True)


def table_of(states: Sequence[RunState], left: float | None, most: int) -> Any:
    """A rich table of at most `most` runs, those that matter most first."""
    from rich.table import Table

    table = Table(title=f"{counted(states)}, time left {duration(left)}", title_justify="left", box=None)
    for name in ("run", "status", "progress", "env steps", "return", "time"):
        table.add_column(name, justify="left" if name in ("run", "status") else "right")
    rows = sorted(states, key=lambda state: ORDER.index(state.status))
    for state in rows[: max(most, 1)]:
        table.add_row(*row_of(state))
    if len(rows) > most:
        table.add_row(f"... {len(rows) - max(most, 1)} more")
    return table


def row_of(state: RunState) -> tuple[str, ...]:
    """A run's cells."""
    line = state.line
    status = WORDS.get(state.status, state.status)
    if state.status == "waiting" and state.attempts:
        status = f"waiting for attempt {state.attempts + 1}"
    return (
        state.planned.name,
        status,
        f"{share_of(state):.0%}",
        str(line.get("env_steps", 0)),
        number(line.get("return")),
        duration(line.get("wall_s")),
    )


def counted(states: Sequence[RunState]) -> str:
    """How many runs there are of each status."""
    counts = Counter(state.status for state in states)
    parts = [f"{counts[status]} {WORDS.get(status, status)}" for status in reversed(ORDER) if counts[status]]
    return f"{len(states)} runs: {', '.join(parts)}"


def share_of(state: RunState) -> float:
    """The part of a run that is over; all of one that is done, which may have been solved early."""
    return 1.0 if state.status == "done" else state.share


def sweep_reporter() -> SweepLines:
    """A table if standard output is a terminal, else lines."""
    from rich.console import Console

    console = Console()
    return SweepTable(console) if console.is_terminal and not console.is_jupyter else SweepLines()
