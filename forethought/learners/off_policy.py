"""The protocol of learners that learn from rows in any order, from any policy or model."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Conditional, Spaces, Transition


@runtime_checkable
class OffPolicyLearner(Protocol):
    """A `Learner` whose batch is `Transition` [batch], rows in any order."""

    @property
    def batch(self) -> int:
        """Rows of a batch."""
        ...

    def init(self, spaces: Spaces, *, key: PRNGKeyArray) -> Any:
        """The state before any update."""
        ...

    def update(self, state: Any, batch: Transition, *, key: PRNGKeyArray) -> tuple[Any, dict[str, Float[Array, ""]]]:
        """The state after one update on `batch`, and its metrics."""
        ...

    def policy(self, state: Any) -> Conditional:
        """The distribution of actions given an observation."""
        ...
