"""What every algorithm is: frozen settings with `init` and `iterate`, so that one driver serves all."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Transition
from forethought.envs.env import Env


class Info(eqx.Module):
    """What a round did: the real episodes it ran, numbers for `metrics.jsonl` (name -> float), and sentences that the
    person who trains should read.
    """

    episodes: list[Transition]
    metrics: dict[str, float | None]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Algorithm(Protocol):
    """Settings of an algorithm.  A round ends at an episode boundary; the state is one pytree of arrays whose
    structure does not change (shapes may: buffers grow), so it checkpoints and resumes exactly.
    """

    def init(self, env: Env, *, key: PRNGKeyArray) -> Any:
        """The state before any experience."""
        ...

    def iterate(self, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, Info]:
        """One round: act, learn, improve."""
        ...

    def controller(self, state: Any, env: Env) -> Controller:
        """What was learned so far, ready to act (no exploration)."""
        ...
