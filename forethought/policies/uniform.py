"""Actions drawn uniformly between the limits: the first experience of a learner that knows nothing."""

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray


class Uniform(eqx.Module):
    """A controller that ignores the state."""

    u_min: Float[Array, "m"]
    u_max: Float[Array, "m"]

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], tuple[()]]:
        """One action, uniform between the limits."""
        del x, t
        return self.u_min + (self.u_max - self.u_min) * jr.uniform(key, self.u_min.shape, self.u_min.dtype), carry
