"""Several time-varying linear controllers, one of which controls a whole episode."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, LinearGaussian
from forethought.dynamics.time_varying import nearest


class NearestController(eqx.Module):
    """The mean actions of the controller whose initial state is nearest to the episode's; its memory is this choice."""

    policies: LinearGaussian  # stacked [C T], over x
    starts: Float[Array, "C n"]
    scale: Float[Array, "n"]  # unit of distances
    action_space: Box

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Int[Array, ""]:
        """The index of the controller for an episode from `x0`."""
        del key
        return nearest(x0, self.starts, self.scale)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Int[Array, ""], *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Int[Array, ""]]:
        """The mean action at step `t`, within the limits; after the last step, that of the last step."""
        del key
        step = jnp.minimum(t, self.policies.f.shape[1] - 1)
        policy: LinearGaussian = jax.tree.map(lambda a: a[carry, step], self.policies)
        return self.action_space.clip(jnp.sum(policy.F * x[None], axis=1) + policy.f), carry
