"""Dynamics whose actions act some steps after they are chosen; see `forethought.core.delay`.

    s = [x; past actions; r] -> [x'; past actions with u in front; r'],   [x'; r'] ~ p(. | x, oldest past action)
r is absent, or the reward of the step, where dynamics predict it too (`forethought.dynamics.learned`).
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Continuous, Delta, Dynamics, draw_many
from forethought.core.delay import Delay


class WithPast(eqx.Module):
    """The distribution of a next state: that of the system, and the past actions, which are certain."""

    system: Continuous
    past: Float[Array, "p"]
    delay: Delay = eqx.field(static=True)

    def sample(self, *, key: PRNGKeyArray) -> Float[Array, "s"]:
        """A sample."""
        return self._joined(self.system.sample(key=key), self.past)

    def log_prob(self, s: Float[Array, "s"]) -> Float[Array, ""]:
        """The log-density of the state of the system."""
        return self.system.log_prob(jnp.concatenate([self.delay.state(s), s[self.delay.whole_size :]]))

    @property
    def mean(self) -> Float[Array, "s"]:
        """The mean."""
        return self._joined(self.system.mean, self.past)

    @property
    def std(self) -> Float[Array, "s"]:
        """Standard deviations, 0 for past actions."""
        return self._joined(self.system.std, jnp.zeros_like(self.past))

    @property
    def cov(self) -> Float[Array, "s s"]:
        """The covariance."""
        n, cov = self.delay.size, self.system.cov
        whole = jsl.block_diag(cov[:n, :n], jnp.zeros((self.past.shape[0],) * 2, cov.dtype), cov[n:, n:])
        end = n + self.past.shape[0]
        return whole.at[:n, end:].set(cov[:n, n:]).at[end:, :n].set(cov[n:, :n])

    def _joined(self, system: Float[Array, "n"], past: Float[Array, "p"]) -> Float[Array, "s"]:
        n = self.delay.size
        return jnp.concatenate([system[:n], past, system[n:]])


class DelayedDynamics(eqx.Module):
    """Known dynamics under delayed actions."""

    system: Dynamics
    delay: Delay = eqx.field(static=True)

    @property
    def dt(self) -> Any:
        """The time step of the system, s; None where it has none."""
        return getattr(self.system, "dt", None)

    def __call__(self, x: Float[Array, "s"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Delta | WithPast:
        """The distribution of the next state."""
        return next_state(self.system, self.delay, x, u, t)

    def draw(self, *, key: PRNGKeyArray) -> "DelayedDynamics":
        """With one function of the system's posterior; itself where the system is certain."""
        drawn = self.system.draw(key=key)
        return self if drawn is self.system else DelayedDynamics(drawn, self.delay)


class DelayedModel(eqx.Module):
    """Learned dynamics of the system, under delayed actions."""

    system: Dynamics
    delay: Delay = eqx.field(static=True)

    @property
    def n_extra(self) -> int:
        """How many entries follow the past actions: 1 for a learned reward."""
        return getattr(self.system, "n_extra", 0)

    @property
    def model(self) -> Any:
        """The fitted model of the system."""
        return getattr(self.system, "model", self.system)

    def __call__(self, x: Float[Array, "s"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Delta | WithPast:
        """The distribution of the next state."""
        return next_state(self.system, self.delay, x, u, t)

    def draw(self, *, key: PRNGKeyArray) -> "DelayedModel":
        """With one function of the model's posterior."""
        return DelayedModel(self.system.draw(key=key), self.delay)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["DelayedModel", int]:
        """Functions of the model's posterior, shared between particles in the way of the model."""
        systems, copies = draw_many(self.system, count, key=key)
        return DelayedModel(systems, self.delay), copies


def next_state(
    system: Dynamics, delay: Delay, s: Float[Array, "s"], u: Shaped[Array, "*m"], t: Int[Array, ""]
) -> Delta | WithPast:
    """The distribution of the state, with past actions, after `s` and the choice of `u`."""
    x = jnp.concatenate([delay.state(s), s[delay.whole_size :]])
    after, past = system(x, delay.applied(s, u), t), delay.pushed(delay.past(s), u)
    whole = WithPast(after, past, delay)
    return Delta(whole.mean) if isinstance(after, Delta) else whole
