"""Classifiers into n classes: one network, and an ensemble of networks.

Symbols: z [d] the input; logits [n] unnormalized log-probabilities; E members with probabilities p_e [n].
    one network   p(y | z) = softmax(f(z))
    ensemble      p(y | z) = mean_e p_e(y | z)
Source: Lakshminarayanan et al. (2017), Simple and scalable predictive uncertainty estimation using deep ensembles.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Categorical
from forethought.networks.gaussian_mlp import silu
from forethought.networks.mlp import MLP
from forethought.networks.normalizer import Normalizer


class CategoricalNetwork(eqx.Module):
    """A network from an input to the logits of n classes; gradients do not reach the scaling of the inputs."""

    inputs: Normalizer
    network: MLP

    @staticmethod
    def init(inputs: Normalizer, n: int, *, hidden: tuple[int, ...], key: PRNGKeyArray) -> "CategoricalNetwork":
        """Random weights."""
        return CategoricalNetwork(inputs, MLP.init(inputs.mean.shape[0], n, hidden=hidden, activation=silu, key=key))

    def __call__(self, z: Float[Array, "d"]) -> Categorical:
        """The distribution of the class."""
        return Categorical(self.network(jax.lax.stop_gradient(self.inputs)(z)))

    def draw(self, *, key: PRNGKeyArray) -> "CategoricalNetwork":
        """Itself: a single network has no epistemic uncertainty."""
        del key
        return self


class CategoricalEnsemble(eqx.Module):
    """E classifiers; their disagreement is the epistemic uncertainty."""

    networks: CategoricalNetwork  # every array stacked [E]

    @property
    def member_count(self) -> int:
        """E."""
        return self.networks.inputs.mean.shape[0]

    def __call__(self, z: Float[Array, "d"]) -> Categorical:
        """The mixture of all members; its logits are log-probabilities."""
        logits = eqx.filter_vmap(lambda network: network(z).logits)(self.networks)
        log_probs = jax.nn.log_softmax(logits, axis=1)
        return Categorical(jax.nn.logsumexp(log_probs, axis=0) - jnp.log(self.member_count))

    def draw(self, *, key: PRNGKeyArray) -> CategoricalNetwork:
        """A uniformly random member."""
        index = jr.randint(key, (), 0, self.member_count)
        return jax.tree.map(lambda a: a[index], self.networks)

    def member(self, index: int) -> CategoricalNetwork:
        """Member `index`, from 0."""
        return jax.tree.map(lambda a: a[index], self.networks)
