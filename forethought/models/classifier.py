"""A small network that tells two classes apart: which states end an episode.

Symbols: inputs z [N, d], labels in {0, 1} [N]; the output is the log-odds of class 1.  Both classes weigh the same in
the loss, since ends are rare.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian
from forethought.models.network import Normaliser


class FittedClassifier(eqx.Module):
    """Log-odds of class 1 as a conditional distribution of one certain number."""

    network: eqx.nn.MLP
    inputs: Normaliser

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The log-odds [1]; above 0 class 1 is the more likely."""
        return DiagonalGaussian(self.network(self.inputs(z)), jnp.zeros(1, z.dtype))

    def draw(self, *, key: PRNGKeyArray) -> "FittedClassifier":
        """Itself."""
        del key
        return self


@dataclass(frozen=True)
class Classifier:
    """Settings of the classifier of terminal states."""

    hidden: int = 32  # units in each of its layers
    depth: int = 2  # hidden layers
    learning_rate: float = 3e-3  # of Adam
    updates: int = 1000  # gradient steps in one fit
    batch: int = 128  # rows in a minibatch, half of each class

    def init(self, d: int, *, key: PRNGKeyArray) -> FittedClassifier:
        """Before any data."""
        network = eqx.nn.MLP(d, 1, self.hidden, self.depth, activation=jax.nn.silu, key=key)
        return FittedClassifier(network, Normaliser.identity(d))

    def fit(
        self,
        z: Float[Array, "N d"],
        label: Bool[Array, "N"],
        size: Int[Array, ""],
        *,
        previous: FittedClassifier,
        key: PRNGKeyArray,
    ) -> tuple[FittedClassifier, Float[Array, ""]]:
        """Fit to the first `size` rows from the weights of `previous`; returns also the balanced error rate."""
        return _fit(self, previous, z, label, size, key)


@eqx.filter_jit
def _fit(settings: Classifier, previous: FittedClassifier, z, label, size, key):
    valid = jnp.arange(z.shape[0]) < size
    inputs = Normaliser.of(z, valid.astype(z.dtype))
    z = jax.vmap(inputs)(z)
    optimiser = optax.adam(settings.learning_rate)
    arrays, static = eqx.partition(previous.network, eqx.is_array)
    classes = (valid & label, valid & ~label)

    def loss(arrays, key):
        network = jax.vmap(eqx.combine(arrays, static))
        half = settings.batch // 2
        positive, negative = (
            network(z[jr.categorical(k, jnp.where(rows, 0.0, -jnp.inf), shape=(half,))])[:, 0]
            for k, rows in zip(jr.split(key), classes, strict=True)
        )
        return jnp.mean(jax.nn.softplus(-positive)) + jnp.mean(jax.nn.softplus(negative))

    def update(i, carry):
        arrays, state = carry
        change, state = optimiser.update(jax.grad(loss)(arrays, jr.fold_in(key, i)), state)
        return optax.apply_updates(arrays, change), state

    arrays, _ = jax.lax.fori_loop(0, settings.updates, update, (arrays, optimiser.init(arrays)))
    network = eqx.combine(arrays, static)
    says = jax.vmap(network)(z)[:, 0] > 0
    miss, alarm = (
        jnp.sum(rows & (says != truth)) / jnp.sum(rows) for rows, truth in zip(classes, (True, False), strict=True)
    )
    return FittedClassifier(network, inputs), 0.5 * (miss + alarm)
