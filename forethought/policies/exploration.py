"""Controllers whose actions are disturbed, so that experience varies."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
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


class Disturbed(eqx.Module):
    """The actions of `inner` plus noise that was drawn before the episode; within the limits only in the environment.

    The actions that it asked for can be computed again from the states that were visited.
    """

    inner: Controller
    noise: Float[Array, "T m"]

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """The inner controller's memory."""
        return self.inner.init(x0, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """One action."""
        u, carry = self.inner.act(x, t, carry, key=key)
        return u + self.noise[jnp.minimum(t, self.noise.shape[0] - 1)], carry


def smoothing_matrix(steps: int, width: float) -> Float[Array, "T T"]:
    """The matrix that smooths white noise [T] over time; every entry of the product has the variance of the noise.

    Args:
        steps: T.
        width: standard deviation of the Gaussian kernel, steps; 0 for no smoothing.
    Source: Levine & Abbeel (2014), the authors' code, which filters the noise and divides it by its standard deviation.
    """
    if width <= 0:
        return jnp.eye(steps)
    t = jnp.arange(steps)
    kernel = jnp.exp(-0.5 * ((t[:, None] - t[None]) / width) ** 2)
    return kernel / jnp.linalg.norm(kernel, axis=1, keepdims=True)
