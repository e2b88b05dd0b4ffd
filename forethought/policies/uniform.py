"""Actions drawn uniformly from the action space, for the first rounds of learning."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

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


class UniformPolicy(eqx.Module):
    """Uniformly random actions as a `Conditional`: one distribution, itself, for all observations."""

    space: Box | Discrete

    def __call__(self, x: Shaped[Array, "*n"]) -> "UniformPolicy":
        """The distribution of the action."""
        del x
        return self

    def draw(self, *, key: PRNGKeyArray) -> "UniformPolicy":
        """Itself."""
        del key
        return self

    def sample(self, *, key: PRNGKeyArray) -> Shaped[Array, "*m"]:
        """One action."""
        return self.space.sample(key=key)

    def log_prob(self, u: Shaped[Array, "*m"]) -> Float[Array, ""]:
        """Log-density of an action within the limits, or log-probability of a choice, in nats."""
        del u
        if isinstance(self.space, Discrete):
            return -jnp.log(jnp.asarray(self.space.n, jnp.result_type(float)))
        return -jnp.sum(jnp.log(2 * self.space.half_range))
