"""How often recorded episodes violated the constraints of their task, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import Transition
from forethought.core.constraints import has_constraints

CHUNK = 64  # steps are padded to a multiple of this, so that episodes of many lengths share few compiled programs


@dataclass(frozen=True)
class Violations:
    """Violations of constraints in several episodes."""

    total: int  # episodes
    episodes: int  # episodes with a violation
    steps: int  # steps whose state or action violates a constraint, last states included
    started: int  # episodes whose first state violates a constraint
    largest: float  # largest value of a constraint, in its unit; not positive if all were kept

    @staticmethod
    def of(task: Any, episodes: Sequence[Transition]) -> "Violations | None":
        """Those of `episodes`, each with leading axis [T]; None if the task has no constraints."""
        if not has_constraints(task) or not episodes:
            return None
        values = [violation_values(task, episode) for episode in episodes]
        bad = [int(np.sum(~(one <= 0))) for one in values]
        largest = max(float(np.max(np.where(np.isnan(one), np.inf, one))) for one in values)
        started = sum(not one[0] <= 0 for one in values)
        return Violations(len(episodes), sum(count > 0 for count in bad), sum(bad), started, largest)

    @property
    def metrics(self) -> dict[str, int | float]:
        """For the record of a round."""
        return {
            "violated_episodes": self.episodes,
            "violated_steps": self.steps,
            "largest_violation": self.largest,
        }

    def __str__(self) -> str:
        if not self.episodes:
            return f"kept in all {self.total} episodes, with {-self.largest:.3g} to spare"
        where = f"{self.episodes} of {self.total} episodes ({self.steps} steps)"
        return f"violated in {where}, by {self.largest:.3g} at most"


def violation_values(task: Any, episode: Transition) -> np.ndarray:
    """The largest constraint value [T+1] of each step and of the last state."""
    T = len(episode)
    padded = -(-T // CHUNK) * CHUNK
    rows = np.minimum(np.arange(padded), T - 1)
    x, u = np.asarray(episode.x)[rows], np.asarray(episode.u)[rows]
    steps, last = _values(task, x, u, np.asarray(episode.x_next[-1]), np.arange(padded, dtype=np.int32))
    return np.append(np.asarray(steps)[:T], np.asarray(last))


@eqx.filter_jit
def _values(task: Any, x: Any, u: Any, last: Any, times: Any) -> tuple[Any, Any]:
    highest = lambda values: jnp.max(values, initial=-jnp.inf)  # noqa: E731
    steps = jax.vmap(lambda x, u, t: highest(task.constraint(x, u, t)))(jnp.asarray(x), jnp.asarray(u), times)
    return steps, highest(task.final_constraint(jnp.asarray(last)))
