"""Recorded episodes from which a training starts: `train --data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import PRNGKeyArray

from forethought.algorithms.protocol import StartsFromData
from forethought.core import Transition, UsageError
from forethought.envs.env import Env
from forethought.envs.logged.data import DataOptions
from forethought.runs.logged import digest, episodes_for, open_data


@dataclass(frozen=True)
class StartingData:
    """Recorded episodes in the terms of an environment."""

    source: str
    episodes: tuple[Transition, ...]
    notes: tuple[str, ...]

    @staticmethod
    def of(algorithm: Any, env: Env, source: str | Path) -> "StartingData":
        """The episodes at `source`, for a training of `algorithm` on `env`.

        Raises:
            UsageError: an algorithm that cannot learn from recorded episodes, or data that do not fit `env`.
        """
        if not isinstance(algorithm, StartsFromData):
            kind = type(algorithm).__name__
            raise UsageError(f"{kind} does not start from recorded data; pets, mpc, fit-once, iterative, pilco, "
                             "backprop and mb-mf do.")  # fmt: skip
        names = env.space.names, getattr(env.task.action_space, "names", ())
        data = open_data(source, DataOptions(preferred=names))
        episodes, notes = episodes_for(data, env)
        steps = sum(map(len, episodes))
        first = f"starts with {steps:,} steps in {len(episodes)} recorded episodes from {source}."
        return StartingData(str(source), tuple(episodes), (first, *data.notes, *notes))

    @property
    def record(self) -> dict[str, Any]:
        """The source, the amount and a digest of the episodes."""
        about = {"episodes": len(self.episodes), "steps": sum(map(len, self.episodes)), "sha256": digest(self.episodes)}
        return {"source": self.source, **about}

    def add_to(self, algorithm: Any, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, tuple[str, ...]]:
        """The state that has learned from the episodes, and notes for the user."""
        return algorithm.with_data(state, env, list(self.episodes), key=key), self.notes
