"""Actions that take effect some steps after they are chosen, or that can only change slowly: the state then includes
past actions.

Symbols: x [n] the state of the system; u [m] an action, k numbers that stand for it (k = m, or one for each choice of a
`Discrete` space); d the delay in steps; r [m] the largest change of an action in a step, infinite without such a limit.
    s_t = [x_t; v_{t-1}; ...; v_{t-q}]   newest first,      x_{t+1} ~ p(x' | x_t, v_{t-d})
    v_t = clip(u_t, v_{t-1} - r, v_{t-1} + r)               what is sent for the choice u_t;  q = d, or 1 if d = 0
With these past actions the process is Markov again.  A controller that sees x_{t-d} and chooses u_t faces the same
process, with all its times shifted by d: a delay of the observation and one of the action add up.
Source: Katsikopoulos & Engelbrecht (2003), "Markov decision processes with delays and asynchronous cost collection",
sections II and III.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from forethought.core.data import AnyArray, Transition
from forethought.core.spaces import Box, Discrete


class Delay(eqx.Module):
    """Where the past actions are in a state `s`; further entries may follow them.  Static and hashable."""

    steps: int = eqx.field(static=True)  # d
    size: int = eqx.field(static=True)  # n
    numbers: int = eqx.field(static=True)  # k
    discrete: bool = eqx.field(static=True, default=False)
    change: tuple[float, ...] | None = eqx.field(
        static=True, default=None
    )  # r, in units of the actions; None: no limit

    @staticmethod
    def of(steps: int, size: int, actions: Box | Discrete, change: tuple[float, ...] | None = None) -> "Delay":
        """A delay of `steps` for states of `size` numbers, or a largest `change` of the actions in a step, or both."""
        return Delay(steps, size, actions.size, isinstance(actions, Discrete), change)

    def __check_init__(self) -> None:
        """At least one step, or a limit."""
        if self.steps < (1 if self.change is None else 0):
            raise ValueError(f"Delay.steps must be at least 1, got {self.steps}.")
        if self.change is not None and (self.discrete or len(self.change) != self.numbers):
            raise ValueError("Delay.change is one number for each coordinate of a continuous action.")

    @property
    def slots(self) -> int:
        """How many past actions a state has: q."""
        return max(self.steps, 1)

    @property
    def past_size(self) -> int:
        """How many numbers the past actions have: q k."""
        return self.slots * self.numbers

    @property
    def whole_size(self) -> int:
        """How many numbers a state with its past actions has: n + q k."""
        return self.size + self.past_size

    def state(self, s: Float[AnyArray, "s"]) -> Float[AnyArray, "n"]:
        """The state of the system."""
        return s[: self.size]

    def past(self, s: Float[AnyArray, "s"]) -> Float[AnyArray, "p"]:
        """The past actions, newest first."""
        return s[self.size : self.whole_size]

    def sent(self, past: Float[AnyArray, "p"], u: Shaped[AnyArray, "*m"]) -> Shaped[AnyArray, "*m"]:
        """The action nearest to `u` that differs from the newest past action by no more than allowed: v_t."""
        if self.change is None:
            return u
        newest, change = past[: self.numbers], np.asarray(self.change, past.dtype)
        return jnp.clip(jnp.asarray(u, past.dtype), newest - change, newest + change)

    def applied(self, s: Float[AnyArray, "s"], u: Shaped[AnyArray, "*m"]) -> Shaped[Array, "*m"]:
        """The action that acts now, where `u` is chosen: the oldest, or what is sent for `u` if there is no delay."""
        if self.steps == 0:
            return jnp.asarray(self.sent(self.past(s), u))
        oldest = s[self.whole_size - self.numbers : self.whole_size]
        return jnp.argmax(oldest).astype(jnp.int32) if self.discrete else jnp.asarray(oldest)

    def pushed(self, past: Float[AnyArray, "p"], u: Shaped[AnyArray, "*m"]) -> Float[Array, "p"]:
        """The past actions one step later, after the choice of `u`."""
        new = self._encoded(self.sent(past, u), past.dtype)
        return jnp.concatenate([new, past[: self.past_size - self.numbers]])

    def resting(self, actions: Box | Discrete) -> Float[Array, "p"]:
        """The past actions at the start of an episode: `resting_action`, q times."""
        return jnp.tile(self._encoded(resting_action(actions), jnp.result_type(float)), self.slots)

    def undelayed(self, rows: Transition) -> Transition:
        """Transitions [N] of states with past actions, as transitions of the system under the actions that acted."""
        us = jax.vmap(self.applied)(jnp.asarray(rows.x), jnp.asarray(rows.u)).astype(rows.u.dtype)
        x, x_next = rows.x[:, : self.size], rows.x_next[:, : self.size]
        return Transition(x, us, x_next, rows.reward, rows.terminated, rows.truncated)

    def _encoded(self, u: Shaped[AnyArray, "*m"], dtype: jnp.dtype) -> Float[Array, "k"]:
        return jax.nn.one_hot(u, self.numbers, dtype=dtype) if self.discrete else jnp.asarray(u, dtype)


def resting_action(actions: Box | Discrete) -> Shaped[Array, "*m"]:
    """What acts before the first chosen action: the middle of the limits (0 where they are infinite), or choice 0."""
    if isinstance(actions, Discrete):
        return actions.example()
    center = jnp.asarray(actions.center)
    return actions.clip(jnp.where(jnp.isfinite(center), center, 0))
