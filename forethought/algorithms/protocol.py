"""The interface of every algorithm: frozen settings with the methods `init`, `iterate` and `controller`.

One training loop runs them all.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import PRNGKeyArray

from forethought.core import Conditional, Controller, Transition
from forethought.envs.env import Env
from forethought.envs.parallel import EpisodeSummary


class Info(eqx.Module):
    """The result of a round: its episodes, numbers for `metrics.jsonl` (name -> float), and notes for the user.

    `episodes` are written to the run directory.  `summary` counts further ones, before them, of which nothing else is
    kept: millions of simulated steps would fill a disk.
    """

    episodes: list[Transition]
    metrics: dict[str, float | None]
    notes: tuple[str, ...] = ()
    summary: EpisodeSummary | None = None


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
        """The controller learned so far, without exploration."""
        ...


@runtime_checkable
class StartsFromPolicy(Protocol):
    """An `Algorithm` without a model that improves a network policy, and whose first policy can be given."""

    def init(self, env: Env, *, key: PRNGKeyArray) -> Any: ...

    def iterate(self, state: Any, env: Env, *, key: PRNGKeyArray) -> tuple[Any, Info]: ...

    def controller(self, state: Any, env: Env) -> Controller: ...

    def policy_of(self, state: Any) -> Conditional:
        """The policy of a state."""
        ...

    def with_policy(self, state: Any, policy: Conditional, experience: Transition | None = None) -> Any:
        """The state with this policy, of the shapes of `policy_of`, which acts and learns from the next step on.

        `experience` [N] of other controllers is learned from where the algorithm can.
        """
        ...


@runtime_checkable
class StartsFromData(Protocol):
    """An `Algorithm` that can learn from recorded episodes before its first round."""

    def with_data(self, state: Any, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray) -> Any:
        """The state with these episodes, each with leading axis [T], among its experience."""
        ...


@runtime_checkable
class HasBudgetCheck(Protocol):
    """Capability of an algorithm with a schedule in real steps."""

    def check_budget(self, env_steps: int) -> None:
        """Raise `UsageError` where the schedule cannot come to its end in a run of so many real steps."""
        ...
