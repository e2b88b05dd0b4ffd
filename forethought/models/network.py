"""One fitted probabilistic network as a conditional distribution: `p(y | z) = N(mean(z), diag std(z)^2)`.

Source: Chua et al. (2018), "Deep reinforcement learning in a handful of trials", section 4.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import DiagonalGaussian
from forethought.networks.gaussian_mlp import GaussianMLP
from forethought.networks.normalizer import Normalizer


class Network(eqx.Module):
    """A fitted network, in the units of the data."""

    layers: GaussianMLP
    inputs: Normalizer
    outputs: Normalizer

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The predictive distribution of `y` [e]."""
        mean, log_var = self.layers(self.inputs(z))
        return DiagonalGaussian(self.outputs.mean + self.outputs.std * mean, self.outputs.std * jnp.exp(0.5 * log_var))

    def draw(self, *, key: PRNGKeyArray) -> "Network":
        """The same network: a single network has no epistemic uncertainty."""
        del key
        return self
