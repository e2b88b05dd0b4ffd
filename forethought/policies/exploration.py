"""A controller whose actions are disturbed, so that experience varies."""

from typing import Any

import equinox as eqx
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, Controller


class Noisy(eqx.Module):
    """The actions of `inner` plus Gaussian noise, within the limits."""

    inner: Controller
    std: Float[Array, "m"]
    action_space: Box

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """The inner controller's memory."""
        return self.inner.init(x0, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """One action."""
        act_key, noise_key = jr.split(key)
        u, carry = self.inner.act(x, t, carry, key=act_key)
        return self.action_space.clip(u + self.std * jr.normal(noise_key, u.shape, u.dtype)), carry
