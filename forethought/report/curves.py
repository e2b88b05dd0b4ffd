"""Learning curves from the metrics of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Curve:
    """The metrics of a run, by round; NaN if a round has no such number."""

    label: str
    dt: float  # s per environment step
    env_steps: Float[np.ndarray, "R"]
    returns: Float[np.ndarray, "R"]
    model_error: Float[np.ndarray, "R"]
    wall_s: Float[np.ndarray, "R"]
    solved: Bool[np.ndarray, "R"]  # the round's last episode solved the task

    @staticmethod
    def of_metrics(metrics: Sequence[Mapping[str, Any]], *, label: str, dt: float) -> "Curve":
        """From the lines of `metrics.jsonl`."""

        def column(name: str) -> np.ndarray:
            return np.array([np.nan if line.get(name) is None else float(line[name]) for line in metrics])

        solved = np.array([bool(line.get("solved")) for line in metrics])
        env_steps, returns, model_error, wall_s = map(column, ("env_steps", "return", "model_error", "wall_s"))
        return Curve(label, dt, env_steps, returns, model_error, wall_s, solved)

    @property
    def first_solved(self) -> int | None:
        """Index of the first round that solved the task."""
        return int(np.argmax(self.solved)) if self.solved.any() else None


@dataclass(frozen=True)
class Baseline:
    """Returns of episodes with actions drawn uniformly between the limits."""

    returns: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Average return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Sample standard deviation; 0 for one episode."""
        return float(np.std(self.returns, ddof=1)) if len(self.returns) > 1 else 0.0
