"""Actions drawn uniformly between the limits: the first experience of a learner that knows nothing."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Uniform(eqx.Module):
    """A controller that ignores the state, and keeps each action for `hold` steps."""

    u_min: Float[Array, "m"]
    u_max: Float[Array, "m"]
    hold: int = eqx.field(static=True, default=1)

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Float[Array, "m"]:
        """The action that is kept; the first step draws one."""
        del x0, key
        return self.u_min

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Float[Array, "m"], *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
        """One action, uniform between the limits."""
        del x
        drawn = self.u_min + (self.u_max - self.u_min) * jr.uniform(key, self.u_min.shape, self.u_min.dtype)
        u = jnp.where(t % self.hold == 0, drawn, carry)
        return u, u
