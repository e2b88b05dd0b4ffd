"""The time-varying linear-Gaussian controller: what every planner's plan is, as a controller."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import LinearGaussian


class LinearGaussianPolicy(eqx.Module):
    """`u_t ~ N(F_t x_t + f_t, cov_t)`, or its mean; after its T steps the last one again.

    `policy` is stacked [T], as in `Plan.policy`.
    """

    policy: LinearGaussian
    noisy: bool = eqx.field(static=True, default=False)  # sample, instead of the mean

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del x0, key
        return ()

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: tuple[()], *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], tuple[()]]:
        """The action [m] at step `t`."""
        last = self.policy.f.shape[0] - 1
        now = jax.tree.map(lambda a: a[jnp.minimum(t, last)], self.policy)
        u = now(x)
        return (u.sample(key=key) if self.noisy else u.mean), carry
