"""Actions drawn uniformly from those allowed: the first experience of a learner that knows nothing."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Discrete


class Uniform(eqx.Module):
    """A controller that ignores the state, and keeps each action for `hold` steps."""

    space: Box | Discrete
    hold: int = eqx.field(static=True, default=1)

    def init(self, x0: Shaped[Array, "*n"], *, key: PRNGKeyArray) -> Array:
        """The action that is kept; the first step draws one."""
        del x0
        return jnp.zeros_like(self.space.sample(key=key))

    def act(self, x: Shaped[Array, "*n"], t: Int[Array, ""], carry: Array, *, key: PRNGKeyArray) -> tuple[Array, Array]:
        """One action, each as likely as the others."""
        del x
        drawn = self.space.sample(key=key)
        u = jax.tree.map(lambda new, kept: jnp.where(t % self.hold == 0, new, kept), drawn, carry)
        return u, u
