"""Recorded episodes from which a training starts: `train --data`."""

from collections.abc import Mapping
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
    """Recorded episodes in the terms of an environment; none for a training without them."""

    source: str = ""
    episodes: tuple[Transition, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(algorithm: Any, env: Env, source: str | Path | None, identity: dict[str, Any]) -> "StartingData":
        """The episodes at `source`, for a training of `algorithm` on `env`; `identity` of the run gets their record.

        Raises:
            UsageError: an algorithm that cannot learn from recorded episodes, or data that do not fit `env`.
        """
        if source is None:
            return StartingData()
        if not isinstance(algorithm, StartsFromData):
            kind = type(algorithm).__name__
            raise UsageError(f"{kind} does not start from recorded data; pets, mpc, fit-once, iterative, pilco, "
                             "backprop and mb-mf do.")  # fmt: skip
        names = env.space.names, getattr(env.task.action_space, "names", ())
        data = open_data(source, DataOptions(preferred=names))
        episodes, notes = episodes_for(data, env)
        steps = sum(map(len, episodes))
        first = f"starts with {steps:,} steps in {len(episodes)} recorded episodes from {source}."
        about = {"episodes": len(episodes), "steps": steps, "sha256": digest(episodes)}
        identity["data"] = {"source": str(source), **about}
        return StartingData(str(source), tuple(episodes), (first, *data.notes, *notes))

    @staticmethod
    def resumed(
        given: "StartingData",
        algorithm: Any,
        env: Env,
        identity: dict[str, Any],
        earlier: Mapping[str, Any] | None,
        *,
        begun: bool,
    ) -> "StartingData":
        """What is still to be learned: nothing if the run has `begun`, else what was given now or recorded `earlier`.

        Raises:
            UsageError: the data are no longer those of the run.
        """
        known = None if earlier is None else earlier.get("data")
        if begun and known is not None:
            identity["data"] = known
        if begun or (known is None and not given.episodes):
            return StartingData()
        if not given.episodes and known is not None:
            given = StartingData.of(algorithm, env, known["source"], identity)
        if known is not None and identity["data"] != known:
            raise UsageError(f"the data in {known['source']} have changed since the run began; begin another run.")
        return given

    def add_to(
        self, algorithm: Any, state: Any, env: Env, notes: tuple[str, ...], *, key: PRNGKeyArray
    ) -> tuple[Any, tuple[str, ...]]:
        """The state of `algorithm` that has learned from the episodes, and `notes` with those on the data."""
        if not self.episodes:
            return state, notes
        return algorithm.with_data(state, env, list(self.episodes), key=key), (*notes, *self.notes)
