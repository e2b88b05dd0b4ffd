"""Actions drawn uniformly from the action space, for the first rounds of learning."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Discrete


class Uniform(eqx.Module):
    """A controller with uniformly random actions; it repeats each action for `hold` steps."""

    space: Box | Discrete
    hold: int = eqx.field(static=True, default=1)

    def init(self, x0: Shaped[Array, "*n"], *, key: PRNGKeyArray) -> Array:
        """The initial memory; the first step samples an action."""
        del x0
        return jnp.zeros_like(self.space.sample(key=key))

    def act(self, x: Shaped[Array, "*n"], t: Int[Array, ""], carry: Array, *, key: PRNGKeyArray) -> tuple[Array, Array]:
        """A uniformly random action, or the previous one while it is repeated."""
        del x
        drawn = self.space.sample(key=key)
        u = jax.tree.map(lambda new, kept: jnp.where(t % self.hold == 0, new, kept), drawn, carry)
        return u, u
