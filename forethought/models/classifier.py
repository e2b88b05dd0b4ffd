"""A classifier of terminal states from few examples: limits on coordinates if they explain all of them, else a network.

Symbols: states z [N, d], labels in {0, 1} [N], 1 for terminal; the output is the log-odds of class 1.
In most tasks an episode ends when a coordinate leaves an interval (a pole leans too far, a torso is too low), and a
planner exploits each terminal state that a model misses.  A network trained on a few terminal states can separate them
in many ways, most of which are wrong for other states.  Limits are therefore tried first: the smallest set of upper or
lower limits on single coordinates that explains all terminal states and excludes all other states; limits that explain
equally many states are all used.  Only if no such limits exist, a network learns the terminal states, with equal weight
of both classes, since terminal states are rare.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian, Result
from forethought.core.settings import settings
from forethought.networks.descent import descend
from forethought.networks.normalizer import Normalizer


class Limits(eqx.Module):
    """An interval for each coordinate, infinite on sides without a limit."""

    lower: Float[Array, "d"]
    upper: Float[Array, "d"]

    @staticmethod
    def none(d: int) -> "Limits":
        """No limits."""
        return Limits(jnp.full(d, -jnp.inf), jnp.full(d, jnp.inf))

    def __call__(self, z: Float[Array, "d"]) -> Float[Array, ""]:
        """Largest distance of a coordinate beyond its limit; negative where all are within."""
        return jnp.max(jnp.maximum(z - self.upper, self.lower - z))


class FittedClassifier(eqx.Module):
    """Predicts the log-odds of class 1, as a conditional distribution of zero variance."""

    network: eqx.nn.MLP
    inputs: Normalizer
    limits: Limits  # limits of the standardized inputs
    limited: Bool[Array, ""]  # whether the limits explain all data, so that the network is not used

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The log-odds [1], above 0 for class 1; with limits, the distance beyond them in standardized units."""
        z = self.inputs(z)
        log_odds = jnp.where(self.limited, self.limits(z)[None], self.network(z))
        return DiagonalGaussian(log_odds, jnp.zeros(1, z.dtype))

    def draw(self, *, key: PRNGKeyArray) -> "FittedClassifier":
        """Itself."""
        del key
        return self


class ClassifierReport(eqx.Module):
    """Report of a fit."""

    error: Float[Array, ""]  # balanced error rate: the mean of the error rates of the two classes
    result: Int[Array, ""]

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the record of a run."""
        return {"termination_error": float(self.error)}


@settings
class Classifier:
    """Settings of the classifier of terminal states."""

    hidden: int = 32  # units in each hidden layer
    depth: int = 2  # hidden layers
    learning_rate: float = 3e-3  # step size of Adam
    updates: int = 1000  # gradient steps in one fit
    batch: int = 128  # rows in a minibatch, half of them of each class

    def init(self, d: int, *, key: PRNGKeyArray) -> FittedClassifier:
        """The classifier before it is fitted."""
        return _init(self, d, key)

    def fit(
        self,
        z: Float[Array, "N d"],
        label: Bool[Array, "N"],
        size: Int[Array, ""],
        *,
        previous: FittedClassifier,
        key: PRNGKeyArray,
    ) -> tuple[FittedClassifier, ClassifierReport]:
        """Fit to the first `size` rows, from the weights of `previous`."""
        return _fit(self, previous, z, label, size, key)


def explain(z: Float[Array, "N d"], ends: Bool[Array, "N"], alive: Bool[Array, "N"]) -> tuple[Limits, Bool[Array, ""]]:
    """Limits midway between the states `alive` and the terminal states `ends`; and whether they explain all of `ends`.

    Greedy set cover: each step adds the limits (upper or lower, on one coordinate) that explain most remaining ends.
    """
    lowest = jnp.min(z, axis=0, initial=jnp.inf, where=alive[:, None])
    highest = jnp.max(z, axis=0, initial=-jnp.inf, where=alive[:, None])
    beyond = ends[:, None] & jnp.concatenate([z < lowest[None], z > highest[None]], axis=1)

    def choose(_, carry):
        unexplained, chosen = carry
        count = jnp.sum(beyond & unexplained[:, None], axis=0)
        best = (count > 0) & (count == jnp.max(count))
        return unexplained & ~jnp.any(beyond & best[None], axis=1), chosen | best

    d = z.shape[1]
    unexplained, chosen = jax.lax.fori_loop(0, 2 * d, choose, (ends, jnp.zeros(2 * d, bool)))
    below, above = beyond[:, :d], beyond[:, d:]
    nearest_below = jnp.max(z, axis=0, initial=-jnp.inf, where=below)
    nearest_above = jnp.min(z, axis=0, initial=jnp.inf, where=above)
    lower = jnp.where(chosen[:d], 0.5 * (lowest + nearest_below), -jnp.inf)
    upper = jnp.where(chosen[d:], 0.5 * (highest + nearest_above), jnp.inf)
    return Limits(lower, upper), ~jnp.any(unexplained)


@eqx.filter_jit  # one compilation instead of many small ones
def _init(settings: Classifier, d: int, key: PRNGKeyArray) -> FittedClassifier:
    network = eqx.nn.MLP(d, 1, settings.hidden, settings.depth, activation=jax.nn.silu, key=key)
    return FittedClassifier(network, Normalizer.identity(d), Limits.none(d), jnp.zeros((), bool))


@eqx.filter_jit
def _fit(settings: Classifier, previous: FittedClassifier, z, label, size, key):
    valid = jnp.arange(z.shape[0]) < size
    inputs = Normalizer.of_inputs(z, valid.astype(z.dtype))
    z = jax.vmap(inputs)(z)
    classes = (valid & label, valid & ~label)
    limits, limited = explain(z, *classes)
    arrays, static = eqx.partition(previous.network, eqx.is_array)
    learned = jax.lax.cond(
        limited, lambda: arrays, lambda: eqx.filter(_descend(settings, previous.network, z, classes, key), eqx.is_array)
    )
    fitted = FittedClassifier(eqx.combine(learned, static), inputs, limits, limited)
    says = jax.vmap(lambda z: jnp.where(limited, limits(z), fitted.network(z)[0]))(z) > 0
    miss, alarm = (
        jnp.sum(rows & (says != truth)) / jnp.sum(rows) for rows, truth in zip(classes, (True, False), strict=True)
    )
    error = 0.5 * (miss + alarm)
    result = jnp.where(jnp.isfinite(error), Result.converged, Result.not_finite)
    return fitted, ClassifierReport(error, result)


def _descend(settings: Classifier, network: eqx.nn.MLP, z, classes, key) -> eqx.nn.MLP:
    """Adam on the logistic loss of balanced minibatches."""

    def loss(network, key):
        network = jax.vmap(network)
        half = settings.batch // 2
        positive, negative = (
            network(z[jr.categorical(k, jnp.where(rows, 0.0, -jnp.inf), shape=(half,))])[:, 0]
            for k, rows in zip(jr.split(key), classes, strict=True)
        )
        return jnp.mean(jax.nn.softplus(-positive)) + jnp.mean(jax.nn.softplus(negative)), ()

    keys = jax.vmap(lambda i: jr.fold_in(key, i))(jnp.arange(settings.updates))
    return descend(loss, network, optimizer=optax.adam(settings.learning_rate), keys=keys)[0]
