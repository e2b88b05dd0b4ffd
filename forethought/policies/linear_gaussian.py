"""A time-varying linear-Gaussian controller: u_t ~ N(F_t x + f_t, cov_t), t = 0 .. T-1.

Maximum-entropy LQR and the trust-region step give `cov_t = temperature * inv(Q_uu,t)`, where Q is the cost of an action
and of all that follows: the controller explores in directions and at steps in which the cost is flat.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Box, LinearGaussian


class LinearGaussianController(eqx.Module):
    """A controller without memory: the mean or a sample of the policy of each step; after the last, of the last step.

    Without an action space it returns the action that the policy asks for, and the environment clips it.
    """

    policy: LinearGaussian  # stacked [T], over x
    action_space: Box | None = None  # limits of the actions
    explore: bool = eqx.field(static=True, default=False)  # sample, instead of taking the mean

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], tuple[()]]:
        """The action at step `t`."""
        step = jnp.minimum(t, self.policy.f.shape[0] - 1)
        actions = jax.tree.map(lambda a: a[step], self.policy)(x)
        u = actions.sample(key=key) if self.explore else actions.mean
        return u if self.action_space is None else self.action_space.clip(u), carry
