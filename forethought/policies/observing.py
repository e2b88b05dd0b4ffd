"""A policy that sees a part of the observation: chosen coordinates, of the last few steps.

Symbols: x [n] an observation; o [p] its chosen coordinates; h observations are seen at once: [o_{t-h+1}; ...; o_t].
Before step h - 1 of an episode the first observation takes the place of those that are missing.  A few observations of
positions stand in for the velocities.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from forethought.core import Conditional, Observations, UsageError, nearest
from forethought.core.data import AnyArray


class View(eqx.Module):
    """What is seen of observations."""

    coordinates: tuple[int, ...] | None = eqx.field(static=True, default=None)  # None: the whole observation
    history: int = eqx.field(static=True, default=1)  # h

    @staticmethod
    def of(observations: Observations, names: Sequence[str], seen: Sequence[str], history: int) -> "View":
        """The view of the coordinates `seen`, by name (its unit may be left out) or index; all if there are none.

        Raises:
            UsageError: an unknown coordinate, or observations that are not vectors of real numbers.
        """
        if not seen and history == 1:
            return View()
        if not observations.is_vector:
            raise UsageError(
                f"observations of {observations} have no coordinates to choose from: leave observed and history out."
            )
        places = [_place(name, names) for name in seen] or list(range(observations.size))
        return View(tuple(dict.fromkeys(places)), history)

    def observations(self, whole: Observations) -> Observations:
        """What a policy for this view sees."""
        if self.coordinates is None:
            return whole
        p = len(self.coordinates)
        angles = [i for i, place in enumerate(self.coordinates) if place in whole.angles]
        every = tuple(step * p + i for step in range(self.history) for i in angles)
        return Observations((self.history * p,), whole.dtype, angles=every)

    def start(self, x: Shaped[Array, "*n"]) -> Shaped[Array, "h p"] | tuple[()]:
        """The memory before the first step."""
        if self.coordinates is None:
            return ()
        return jnp.tile(x[jnp.array(self.coordinates)][None], (self.history, 1))

    def look(
        self, x: Shaped[Array, "*n"], memory: Shaped[Array, "h p"] | tuple[()]
    ) -> tuple[Shaped[Array, "*f"], Shaped[Array, "h p"] | tuple[()]]:
        """What is seen at this step, and the memory after it."""
        if self.coordinates is None:
            return x, ()
        memory = jnp.concatenate([jnp.asarray(memory)[1:], x[jnp.array(self.coordinates)][None]])
        return memory.reshape(-1), memory

    def along(self, xs: Shaped[AnyArray, "T *n"]) -> Shaped[np.ndarray, "T *f"]:
        """What is seen at each step of an episode."""
        xs = np.asarray(xs)
        if self.coordinates is None:
            return xs
        chosen, steps = xs[:, self.coordinates], np.arange(len(xs))
        past = [chosen[np.maximum(steps - back, 0)] for back in reversed(range(self.history))]
        return np.concatenate(past, axis=1)


class Observing(eqx.Module):
    """A controller that takes the mode of a policy of what it sees."""

    policy: Conditional
    view: View = View()

    def init(self, x0: Shaped[Array, "*n"], *, key: PRNGKeyArray) -> Shaped[Array, "h p"] | tuple[()]:
        """The first observation, for all steps before."""
        del key
        return self.view.start(x0)

    def act(
        self, x: Shaped[Array, "*n"], t: Int[Array, ""], carry: Shaped[Array, "h p"] | tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Shaped[Array, "h p"] | tuple[()]]:
        """One action; the environment clips it to its limits."""
        del t, key
        seen, carry = self.view.look(x, carry)
        actions = self.policy(seen)
        return actions.mode, carry  # type: ignore[attr-defined]


def _place(name: str, names: Sequence[str]) -> int:
    """The index of a coordinate."""
    short = [whole.partition(" (")[0] for whole in names]
    for known in (list(names), short, [str(i) for i in range(len(names))]):
        if known.count(name) == 1:
            return known.index(name)
    raise UsageError(f"the observation has no coordinate '{name}'; {nearest(name, short)}")
