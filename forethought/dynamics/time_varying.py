"""Local dynamics: linear-Gaussian models around one or several trajectories, valid near them only.

Symbols: t = 0 .. T-1 steps of an episode; C trajectories; z = [x; u] [d], d = n + m;  x' ~ N(F_t z + f_t, cov_t).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Gaussian, LinearGaussian


class TimeVarying(eqx.Module):
    """Dynamics that are linear-Gaussian at every step; from step T on those of the last step."""

    conditional: LinearGaussian  # stacked [T], over z

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Gaussian:
        """The distribution of the next state."""
        return self.linearize(x, u, t)(jnp.concatenate([x, u]))

    def draw(self, *, key: PRNGKeyArray) -> "TimeVarying":
        """Itself: its function is certain."""
        del key
        return self

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """The model of step `t`, for any state and action."""
        del x, u
        return _at_step(self.conditional, t)


class NearestLocal(eqx.Module):
    """Dynamics made of local models around C trajectories: at each step those of the trajectory nearest to the state.

    Distances are Euclidean, in units of `scale`.
    """

    conditionals: LinearGaussian  # stacked [C T], over z
    xs: Float[Array, "C T1 n"]  # the trajectories
    scale: Float[Array, "n"]

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Gaussian:
        """The distribution of the next state."""
        return self.linearize(x, u, t)(jnp.concatenate([x, u]))

    def draw(self, *, key: PRNGKeyArray) -> "NearestLocal":
        """Itself: its function is certain."""
        del key
        return self

    def linearize(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> LinearGaussian:
        """The model of step `t` around the nearest trajectory."""
        del u
        here = self.xs[:, jnp.minimum(t, self.xs.shape[1] - 2)]
        return _at_step(jax.tree.map(lambda a: a[nearest(x, here, self.scale)], self.conditionals), t)


def nearest(x: Float[Array, "n"], points: Float[Array, "C n"], scale: Float[Array, "n"]) -> Int[Array, ""]:
    """The index of the point nearest to `x`, in units of `scale`."""
    return jnp.argmin(jnp.sum(((points - x[None]) / scale[None]) ** 2, axis=1))


def _at_step(stacked: LinearGaussian, t: Int[Array, ""]) -> LinearGaussian:
    return jax.tree.map(lambda a: a[jnp.minimum(t, a.shape[0] - 1)], stacked)
