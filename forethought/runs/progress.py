"""What a person sees while training."""

import sys
import time
import warnings
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TextIO, runtime_checkable

from forethought.core.errors import UsageError
from forethought.runs.checkpoint import Standing

QUIET_S = 30.0  # s between two lines within a round, at least, where there is no terminal
RECENT = 5  # rounds that the estimate of the time left looks back on


@dataclass(frozen=True)
class Budget:
    """When training ends: at the first round end at or past any of these."""

    env_steps: int | None = None  # real steps
    iterations: int | None = None  # rounds
    until_solved: bool = False  # end after a round whose last episode is solved

    def __post_init__(self):
        """There must be an end."""
        for name, value in (("env_steps", self.env_steps), ("iterations", self.iterations)):
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, not {value}.")
        if self.env_steps is None and self.iterations is None and not self.until_solved:
            raise UsageError("say how long to train: env_steps (real steps), iterations (rounds) or until_solved.")

    def spent(self, standing: Standing) -> bool:
        """Whether training ends here."""
        return (
            (self.env_steps is not None and standing.env_steps >= self.env_steps)
            or (self.iterations is not None and standing.iteration >= self.iterations)
            or (self.until_solved and bool(standing.solved))
        )

    def share(self, iteration: float, env_steps: float) -> float:
        """The part of the budget that is used, from 0 to 1."""
        parts = [0.0]
        if self.env_steps is not None:
            parts.append(env_steps / self.env_steps)
        if self.iterations is not None:
            parts.append(iteration / self.iterations)
        return min(max(parts), 1.0)


class TimeLeft:
    """An estimate of the seconds left, from how the last few rounds used up the budget."""

    def __init__(self):
        self._points: deque[tuple[float, float]] = deque(maxlen=RECENT + 1)

    def mark(self, share: float, now: float) -> None:
        """Note the share of the budget used at time `now`, in s."""
        self._points.append((share, now))

    def __call__(self, now: float) -> float | None:
        """Seconds left; None before a whole round was seen."""
        if len(self._points) < 2 or self._points[-1][0] <= self._points[0][0]:
            return None
        (share0, start), (share1, end) = self._points[0], self._points[-1]
        return max((1 - share1) * (end - start) / (share1 - share0) - (now - end), 0.0)


@runtime_checkable
class Reporter(Protocol):
    """Shows the progress of a training."""

    def __enter__(self) -> "Reporter": ...

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None: ...

    def begin(self, name: str, budget: Budget, standing: Standing) -> None:
        """Training of the run called `name` starts, or goes on, from `standing`."""
        ...

    def step(self, steps: int, episode_return: float) -> None:
        """Within a round: real steps since it began, and the return of the episode so far."""
        ...

    def round(self, line: dict[str, Any]) -> None:
        """A round ended; `line` is its line in `metrics.jsonl`."""
        ...

    def notice(self, text: str) -> None:
        """Something the person must know."""
        ...

    def hint(self, text: str) -> None:
        """Something that helps a person who is watching."""
        ...


class Silent:
    """Shows nothing; what must be known becomes a Python warning."""

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def begin(self, name: str, budget: Budget, standing: Standing) -> None:
        del name, budget, standing

    def step(self, steps: int, episode_return: float) -> None:
        del steps, episode_return

    def round(self, line: dict[str, Any]) -> None:
        del line

    def notice(self, text: str) -> None:
        warnings.warn(text, stacklevel=3)

    def hint(self, text: str) -> None:
        del text


class Plain(Silent):
    """One line per round, and now and then one within a long round: for logs."""

    def __init__(self, stream: TextIO):
        self.stream = stream
        self.budget = Budget(iterations=1)
        self.standing = Standing()
        self.left = TimeLeft()
        self.last = time.monotonic()

    def begin(self, name: str, budget: Budget, standing: Standing) -> None:
        self.budget, self.standing = budget, standing
        self.left.mark(budget.share(standing.iteration, standing.env_steps), time.monotonic())
        self.notice(f"training in {name}")

    def step(self, steps: int, episode_return: float) -> None:
        if time.monotonic() - self.last >= QUIET_S:
            total = self.standing.env_steps + steps
            now = f"round {self.standing.iteration + 1}: env steps {total}  return so far {number(episode_return)}"
            self.notice(now)

    def round(self, line: dict[str, Any]) -> None:
        self.standing = Standing(line["iteration"], line["env_steps"], line["episodes"])
        self.left.mark(self.budget.share(line["iteration"], line["env_steps"]), time.monotonic())
        self.notice(describe(line, self.budget, self.left(time.monotonic())))

    def notice(self, text: str) -> None:
        print(text, file=self.stream, flush=True)
        self.last = time.monotonic()

    def hint(self, text: str) -> None:
        self.notice(text)


def reporter_for(progress: bool) -> Reporter:
    """Lines on standard output, or nothing."""
    return Plain(sys.stdout) if progress else Silent()


def describe(line: dict[str, Any], budget: Budget, left: float | None) -> str:
    """A round in one line for people."""
    of = f"/{budget.iterations}" if budget.iterations else ""
    of_steps = f"/{budget.env_steps}" if budget.env_steps else ""
    parts = [
        f"round {line['iteration']}{of}",
        f"env steps {line['env_steps']}{of_steps}",
        f"return {number(line['return'])}",
        f"model error {number(line['model_error'])}",
        f"{number(line['steps_per_s'])} steps/s",
        f"time left {duration(left)}",
    ]
    if line["solved"]:
        parts.append("solved")
    return "  ".join(parts)


def number(value: float | None) -> str:
    """Four significant digits, `-` for none."""
    return "-" if value is None else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds, `-` for none."""
    if seconds is None:
        return "-"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"
