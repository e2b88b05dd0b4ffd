"""Mean and variance of everything seen so far, updated batch by batch.

Symbols: n values seen with mean and var; a batch of m values with mean', var'; delta = mean' - mean.
    n_new = n + m,   mean_new = mean + delta m / n_new,
    var_new = (n var + m var' + delta^2 n m / n_new) / n_new
Source: Chan, Golub & LeVeque (1979), Updating formulae and a pairwise algorithm; Stable-Baselines3's RunningMeanStd.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALLEST_STD = 1e-4  # square root of the 1e-8 that Stable-Baselines3 adds to a variance


class RunningMoments(eqx.Module):
    """Moments of each coordinate."""

    mean: Float[Array, "*d"]
    var: Float[Array, "*d"]
    count: Float[Array, ""]

    @staticmethod
    def init(*shape: int) -> "RunningMoments":
        """Nothing seen: mean 0 and variance 1."""
        return RunningMoments(jnp.zeros(shape), jnp.ones(shape), jnp.zeros(()))

    @property
    def std(self) -> Float[Array, "*d"]:
        """Standard deviations; those of constants are tiny but not zero."""
        return jnp.sqrt(jnp.maximum(self.var, SMALLEST_STD**2))

    def update(self, batch: Float[Array, "B *d"], *, most: float | None = None) -> "RunningMoments":
        """With B more values; `most` limits the weight of those before, so that moments follow a drift."""
        m = batch.shape[0]
        n = self.count if most is None else jnp.minimum(self.count, most)
        delta = jnp.mean(batch, axis=0) - self.mean
        total = n + m
        mean = self.mean + delta * (m / total)
        var = (n * self.var + m * jnp.var(batch, axis=0) + delta**2 * (n * m / total)) / total
        return RunningMoments(mean, var, total)
