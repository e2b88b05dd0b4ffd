"""Progress display during training."""

import time
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from forethought.runs.budget import Budget, TimeLeft
from forethought.runs.checkpoint import TrainingProgress

QUIET_S = 30.0  # shortest time between two lines within a round if there is no terminal, s


def say(text: str) -> None:
    """Print a line, at once."""
    print(text, flush=True)


@runtime_checkable
class Reporter(Protocol):
    """Shows the progress of a training."""

    def __enter__(self) -> "Reporter": ...

    def __exit__(self, kind: type | None, problem: BaseException | None, trace: TracebackType | None) -> None: ...

    def begin(self, name: str, budget: Budget, progress: TrainingProgress) -> None:
        """Called when the training of run `name` starts or continues from `progress`."""
        ...

    def step(self, steps: int, episode_return: float) -> None:
        """Called within a round, with the number of real steps since its start and the return of the episode so far."""
        ...

    def round(self, line: dict[str, Any]) -> None:
        """Called at the end of a round; `line` is its line in `metrics.jsonl`."""
        ...

    def notice(self, text: str) -> None:
        """Show an important notice."""
        ...

    def hint(self, text: str) -> None:
        """Show advice, at a terminal only."""
        ...


class Silent:
    """Shows no progress; notices become Python warnings."""

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *problem: object) -> None:
        return None

    def begin(self, name: str, budget: Budget, progress: TrainingProgress) -> None:
        del name, budget, progress

    def step(self, steps: int, episode_return: float) -> None:
        del steps, episode_return

    def round(self, line: dict[str, Any]) -> None:
        del line

    def notice(self, text: str) -> None:
        warnings.warn(text, stacklevel=3)

    def hint(self, text: str) -> None:
        del text


class Plain(Silent):
    """For logs: one line per round, and further lines during a long round."""

    def __init__(self, say: Callable[[str], None] = say):
        self.say = say
        self.budget = Budget(iterations=1)
        self.progress = TrainingProgress()
        self.left = TimeLeft()
        self.last = time.monotonic()

    def begin(self, name: str, budget: Budget, progress: TrainingProgress) -> None:
        self.budget, self.progress = budget, progress
        self.left.mark(budget.share(progress.iteration, progress.env_steps), time.monotonic())
        self.notice(f"training in {name}")

    def step(self, steps: int, episode_return: float) -> None:
        if time.monotonic() - self.last >= QUIET_S:
            total = self.progress.env_steps + steps
            now = f"round {self.progress.iteration + 1}: env steps {total}  return so far {number(episode_return)}"
            self.notice(now)

    def round(self, line: dict[str, Any]) -> None:
        self.progress = TrainingProgress(line["iteration"], line["env_steps"], line["episodes"])
        self.left.mark(self.budget.share(line["iteration"], line["env_steps"]), time.monotonic())
        self.notice(describe(line, self.budget, self.left(time.monotonic())))

    def notice(self, text: str) -> None:
        self.say(text)
        self.last = time.monotonic()

    def hint(self, text: str) -> None:
        self.notice(text)


class Live(Plain):
    """For terminals: one line per round, and a progress bar below them."""

    def __init__(self, console: Any):
        # not at the top: importing rich uses Python's global random numbers
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        super().__init__(lambda text: console.print(text, markup=False, highlight=False))
        self.numbers = "return -  model error -"
        self.round_began = time.monotonic()
        self.round_steps: int | None = None  # real steps of the last round, an estimate for the running round
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[now]}", style="cyan"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, console=console, transient=True)
        self.task = self.bar.add_task("starting", total=1.0, now="")

    def __enter__(self) -> "Reporter":
        self.bar.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.bar.stop()

    def begin(self, name: str, budget: Budget, progress: TrainingProgress) -> None:
        super().begin(name, budget, progress)
        self._show(0, self.numbers)

    def step(self, steps: int, episode_return: float) -> None:
        self._show(steps, f"return so far {number(episode_return)}")

    def round(self, line: dict[str, Any]) -> None:
        self.round_steps = line["env_steps"] - self.progress.env_steps
        self.round_began = time.monotonic()
        super().round(line)
        self.numbers = f"return {number(line['return'])}  model error {number(line['model_error'])}"
        self._show(0, self.numbers)

    def _show(self, steps: int, numbers: str) -> None:
        """Move the bar to `steps` real steps in the running round."""
        env_steps = self.progress.env_steps + steps
        into_round = min(steps / self.round_steps, 1.0) if self.round_steps else 0.0
        now = time.monotonic()
        rate = f"  {number(steps / (now - self.round_began))} steps/s" if steps else ""
        self.bar.update(
            self.task,
            completed=self.budget.share(self.progress.iteration + into_round, env_steps),
            description=f"round {self.progress.iteration + 1}  env steps {env_steps}",
            now=f"{numbers}{rate}  left {duration(self.left(now))}",
        )


def reporter_for(progress: bool) -> Reporter:
    """A progress bar if standard output is a terminal, else lines; nothing if `progress` is false."""
    if not progress:
        return Silent()
    from rich.console import Console

    console = Console()
    return Live(console) if console.is_terminal and not console.is_jupyter else Plain()


def describe(line: dict[str, Any], budget: Budget, left: float | None) -> str:
    """The metrics of a round as one line."""
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
    if line.get("violated_steps"):
        parts.append(f"constraint violated in {line['violated_steps']} steps, by {number(line['largest_violation'])}")
    return "  ".join(parts)


def number(value: int | float | None) -> str:
    """Four significant digits; `-` for None."""
    return "-" if value is None else f"{value:.4g}"


def duration(seconds: int | float | None) -> str:
    """Hours, minutes and seconds; `-` for None."""
    if seconds is None:
        return "-"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"
