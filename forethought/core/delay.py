"""Actions that take effect some steps after they are chosen: the state then includes the actions on their way.

Symbols: x [n] the state of the system; u [m] an action, k numbers that stand for it (k = m, or one for each choice of a
`Discrete` space); d the delay in steps.
    s_t = [x_t; u_{t-1}; ...; u_{t-d}]   newest first,      x_{t+1} ~ p(x' | x_t, u_{t-d})
With these past actions the process is Markov again.  A controller that sees x_{t-d} and chooses u_t faces the same
process, with all its times shifted by d: a delay of the observation and one of the action add up.
Source: Katsikopoulos & Engelbrecht (2003), "Markov decision processes with delays and asynchronous cost collection",
sections II and III.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from forethought.core.data import AnyArray, Transition
from forethought.core.spaces import Box, Discrete


class Delay(eqx.Module):
    """Where the past actions are in a state `s`; further entries may follow them.  Static and hashable."""

    steps: int = eqx.field(static=True)  # d
    size: int = eqx.field(static=True)  # n
    numbers: int = eqx.field(static=True)  # k
    discrete: bool = eqx.field(static=True, default=False)

    @staticmethod
    def of(steps: int, size: int, actions: Box | Discrete) -> "Delay":
        """A delay of `steps` for states of `size` numbers."""
        return Delay(steps, size, actions.size, isinstance(actions, Discrete))

    def __check_init__(self) -> None:
        """At least one step."""
        if self.steps < 1:
            raise ValueError(f"Delay.steps must be at least 1, got {self.steps}.")

    @property
    def past_size(self) -> int:
        """How many numbers the past actions have: d k."""
        return self.steps * self.numbers

    @property
    def whole_size(self) -> int:
        """How many numbers a state with its past actions has: n + d k."""
        return self.size + self.past_size

    def state(self, s: Float[AnyArray, "s"]) -> Float[AnyArray, "n"]:
        """The state of the system."""
        return s[: self.size]

    def past(self, s: Float[AnyArray, "s"]) -> Float[AnyArray, "p"]:
        """The past actions, newest first."""
        return s[self.size : self.whole_size]

    def applied(self, s: Float[AnyArray, "s"]) -> Shaped[Array, "*m"]:
        """The action that acts now: the oldest."""
        oldest = s[self.whole_size - self.numbers : self.whole_size]
        return jnp.argmax(oldest).astype(jnp.int32) if self.discrete else jnp.asarray(oldest)

    def pushed(self, past: Float[AnyArray, "p"], u: Shaped[AnyArray, "*m"]) -> Float[Array, "p"]:
        """The past actions one step later, after the choice of `u`."""
        new = self._encoded(u, past.dtype)
        return jnp.concatenate([new, past[: self.past_size - self.numbers]])

    def resting(self, actions: Box | Discrete) -> Float[Array, "p"]:
        """The past actions at the start of an episode: `resting_action`, d times."""
        return jnp.tile(self._encoded(resting_action(actions), jnp.result_type(float)), self.steps)

    def undelayed(self, rows: Transition) -> Transition:
        """Transitions [N] of states with past actions, as transitions of the system under the actions that acted."""
        us = jax.vmap(self.applied)(jnp.asarray(rows.x)).astype(rows.u.dtype)
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
