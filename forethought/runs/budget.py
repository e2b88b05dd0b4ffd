"""The length of a training, and an estimate of the remaining time."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from forethought.core.errors import UsageError
from forethought.runs.checkpoint import TrainingProgress

RECENT = 5  # number of rounds from which the remaining time is estimated


@dataclass(frozen=True)
class Budget:
    """The length of a training: it ends after the first round that reaches any of these limits."""

    env_steps: int | None = None  # environment steps
    iterations: int | None = None  # rounds
    until_solved: bool = False  # whether to end after a round whose last episode passes the success test

    def __post_init__(self):
        """Raise `UsageError` for numbers below 1, or if no limit is given."""
        for name, value in (("env_steps", self.env_steps), ("iterations", self.iterations)):
            if value is None:
                continue
            if not isinstance(value, int | np.integer) or value < 1:
                raise UsageError(f"{name} must be a whole number, at least 1, not {value!r}.")
            object.__setattr__(self, name, int(value))
        if self.env_steps is None and self.iterations is None and not self.until_solved:
            raise UsageError("say how long to train: give env_steps (real steps), iterations (rounds) or until_solved.")

    def spent(self, progress: TrainingProgress) -> bool:
        """Whether training ends after this round."""
        return (
            (self.env_steps is not None and progress.env_steps >= self.env_steps)
            or (self.iterations is not None and progress.iteration >= self.iterations)
            or (self.until_solved and bool(progress.solved))
        )

    def share(self, iteration: int | float, env_steps: int) -> float:
        """The share of the budget that is used, from 0 to 1."""
        parts = [0.0]
        if self.env_steps is not None:
            parts.append(env_steps / self.env_steps)
        if self.iterations is not None:
            parts.append(iteration / self.iterations)
        return min(max(parts), 1.0)


class TimeLeft:
    """An estimate of the remaining seconds, from the share of the budget used by the last few rounds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque(maxlen=RECENT + 1)

    def mark(self, share: float, now: float) -> None:
        """Note the share of the budget used at time `now`, in s."""
        self._points.append((share, now))

    def __call__(self, now: float) -> float | None:
        """Remaining seconds; None before the first whole round."""
        if len(self._points) < 2 or self._points[-1][0] <= self._points[0][0]:
            return None
        (share0, start), (share1, end) = self._points[0], self._points[-1]
        return max((1 - share1) * (end - start) / (share1 - share0) - (now - end), 0.0)
