"""A value function whose network predicts standardized returns.

Symbols: V(x) = mean + std g(x), g a network of one output, mean and std those of the returns it was fitted to.  When
they change, the last layer is changed so that V stays the same function.
Source: van Hasselt et al. (2016), Learning values across many orders of magnitude (PopArt), section 2.1.
Differs: the moments are averages over about the last ten batches, instead of an exponential average over samples.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Spaces
from forethought.networks.build import Network, network_for
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import orthogonal
from forethought.networks.running_moments import RunningMoments

MEMORY = 10  # batches over which the moments of the returns are averaged, about


class ValueFunction(eqx.Module):
    """The expected discounted return from an observation on, in units of reward."""

    inputs: Inputs
    network: Network
    returns: RunningMoments

    @staticmethod
    def init(
        spaces: Spaces, *, hidden: tuple[int, ...], normalize: bool, who: str, key: PRNGKeyArray
    ) -> "ValueFunction":
        """A network of tanh units; see `policies.network.on_policy`."""
        inputs = Inputs.of(spaces.observations, normalize=normalize)
        gains = {"initializer": orthogonal(2**0.5), "last": orthogonal(1.0)}  # as in CleanRL
        network = network_for(inputs, 1, hidden=hidden, activation=jnp.tanh, who=who, key=key, **gains)
        return ValueFunction(inputs, network, RunningMoments.init())

    def __call__(self, x: Shaped[Array, "*n"]) -> Float[Array, ""]:
        """The value of an observation; no gradient reaches the moments."""
        returns = jax.lax.stop_gradient(self.returns)
        return returns.mean + returns.std * self.network(self.inputs(x))[0]

    def loss(self, xs: Shaped[Array, "N *n"], targets: Float[Array, "N"]) -> Float[Array, ""]:
        """Half the mean squared error in standard deviations of the returns."""
        return 0.5 * jnp.mean(((jax.vmap(self)(xs) - targets) / jax.lax.stop_gradient(self.returns.std)) ** 2)

    def rescaled(self, targets: Float[Array, "N"]) -> "ValueFunction":
        """The same function with the moments of N more returns."""
        before = self.returns
        after = before.update(targets, most=float(MEMORY * targets.shape[0]))
        network = self.network.rescaled(before.std / after.std, (before.mean - after.mean) / after.std)
        return ValueFunction(self.inputs, network, after)

    def seen(self, xs: Shaped[Array, "N *n"]) -> "ValueFunction":
        """With the moments of N more observations."""
        return ValueFunction(self.inputs.seen(xs), self.network, self.returns)
