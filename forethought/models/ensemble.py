"""Bootstrapped ensemble of probabilistic networks, trained and evaluated as one batched matrix product.

Symbols: E members, N data (rows from `size` on are padding), z [N, d], y [N, e]; B rows in a minibatch.
Each member sees its own bootstrap of the training rows and its own order.  A fixed share of the rows is held out; each
member keeps the weights of its best epoch on them.
Source: Chua et al. (2018), section 4; early stopping and the choice of the best epoch follow Janner et al. (2019).
"""

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian, Result
from forethought.models.network import Layers, Network, Normaliser, negative_log_likelihood


class FittedEnsemble(eqx.Module):
    """E networks that agree where there is data and differ where there is none."""

    networks: Network  # every array stacked [E]
    rows: Int[Array, ""]  # how many it was fitted to

    @property
    def member_count(self) -> int:
        """E."""
        return self.networks.inputs.mean.shape[0]

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """Mean and variance of the mixture of all members: disagreement counts as variance.

        Differs: the mixture is summarised by its first two moments.
        """
        each = eqx.filter_vmap(lambda network: network(z))(self.networks)
        return DiagonalGaussian(jnp.mean(each.mean, 0), jnp.sqrt(jnp.mean(each.std**2, 0) + jnp.var(each.mean, 0)))

    def draw(self, *, key: PRNGKeyArray) -> Network:
        """One member, each as likely as the other."""
        index = jr.randint(key, (), 0, self.member_count)
        return jax.tree.map(lambda a: a[index], self.networks)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple[Network, int]:
        """All members, stacked [E], each to be used for `count / E` particles.

        Differs: the same number of particles for each member (as in the authors' code) instead of independent draws.
        Raises: ValueError where E does not divide `count`.
        """
        del key
        if count % self.member_count:
            raise ValueError(
                f"particles ({count}) must be a multiple of the ensemble's members ({self.member_count}); "
                f"use {self.member_count * max(1, round(count / self.member_count))}."
            )
        return self.networks, count // self.member_count


class FitReport(eqx.Module):
    """What a fit did.  Losses are averages over members, one per epoch, NaN from `epochs` on."""

    epochs: Int[Array, ""]
    train_loss: Float[Array, "max_epochs"]  # nats per output
    holdout_loss: Float[Array, "max_epochs"]  # mean squared error of the standardised outputs
    holdout_error: Float[Array, "e"]  # root mean squared error of the chosen weights, in units of y
    result: Int[Array, ""]


@dataclass(frozen=True)
class Ensemble:
    """Settings of a bootstrapped ensemble of probabilistic networks."""

    members: int = 5  # networks
    hidden: tuple[int, ...] = (200, 200)  # units in each hidden layer
    learning_rate: float = 1e-3  # of Adam
    weight_decay: float = 5e-5  # L2 penalty on the weights
    batch: int = 32  # rows in a minibatch, for each member
    max_epochs: int = 300  # passes through the data in one fit
    max_updates: int = 10000  # gradient steps in one fit
    patience: int = 60  # epochs without a better held-out error before a fit stops
    holdout: float = 0.1  # share of the data held out for early stopping
    bootstrap: bool = True  # each member learns from its own resample of the data
    warm_start: float = 0.2  # begin at the last weights where less than this share of the data is new; 1: always

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name in ("members", "batch", "max_epochs", "max_updates", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"Ensemble.{name} must be at least 1, got {getattr(self, name)}.")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"Ensemble.hidden needs at least one layer of at least one unit, got {self.hidden}.")
        if not 0 <= self.holdout < 1:
            raise ValueError(f"Ensemble.holdout is a share of the data, in [0, 1), got {self.holdout}.")
        if not 0 <= self.warm_start <= 1:
            raise ValueError(f"Ensemble.warm_start is a share of the data, in [0, 1], got {self.warm_start}.")
        if self.learning_rate <= 0:
            raise ValueError(f"Ensemble.learning_rate must be > 0, got {self.learning_rate}.")

    def init(self, d: int, e: int, *, key: PRNGKeyArray) -> FittedEnsemble:
        """An ensemble before any data: random weights, no scaling."""
        return _init(self, d, e, key)

    def fit(
        self,
        z: Float[Array, "N d"],
        y: Float[Array, "N e"],
        size: Int[Array, ""],
        *,
        previous: FittedEnsemble | None = None,
        key: PRNGKeyArray,
    ) -> tuple[FittedEnsemble, FitReport]:
        """Fit to the first `size` rows; compiled once for each N.

        Args:
            z, y: inputs and outputs, padded.
            size: how many rows hold data.
            previous: where to start from, as far as `warm_start` allows: weights that were fitted to much less data
                are overfitted to them, and hard to mend.
            key: seeds the bootstrap, the order of the rows and the weights.
        """
        init_key, fit_key = jr.split(key)
        fresh = self.init(z.shape[1], y.shape[1], key=init_key)
        return _fit(self, fresh if previous is None else previous, fresh, z, y, size, fit_key)


@eqx.filter_jit  # one compilation in place of many small ones
def _init(settings: Ensemble, d: int, e: int, key: PRNGKeyArray) -> FittedEnsemble:
    def network(k: PRNGKeyArray) -> Network:
        return Network(Layers.init(d, e, hidden=settings.hidden, key=k), Normaliser.identity(d), Normaliser.identity(e))

    return FittedEnsemble(eqx.filter_vmap(network)(jr.split(key, settings.members)), jnp.zeros((), jnp.int32))


class _Progress(NamedTuple):
    """The state of a fit between two epochs."""

    layers: Layers
    optimiser: optax.OptState
    best_layers: Layers
    best_loss: Float[Array, "E"]
    stale: Int[Array, ""]
    epoch: Int[Array, ""]
    train_loss: Float[Array, "max_epochs"]
    holdout_loss: Float[Array, "max_epochs"]


@eqx.filter_jit
def _fit(
    settings: Ensemble, previous: FittedEnsemble, fresh: FittedEnsemble, z, y, size, key
) -> tuple[FittedEnsemble, FitReport]:
    boot_key, epoch_key = jr.split(key)
    valid = jnp.arange(z.shape[0]) < size
    held = valid & held_out(z.shape[0], settings.holdout)
    kept = (valid & ~held).astype(z.dtype)
    inputs, outputs = Normaliser.of(z, kept), Normaliser.of(y, kept)
    z, y = jax.vmap(inputs)(z), jax.vmap(outputs)(y)
    rows, count = _bootstrap(settings, valid & ~held, boot_key)
    judged = jnp.where(jnp.any(held), held, valid)  # too few data to hold any out: judge by all of them
    optimiser = optax.adam(settings.learning_rate)

    def epoch(p: _Progress) -> _Progress:
        layers, state, train_loss = _epoch(
            settings, optimiser, p.layers, p.optimiser, z, y, rows, count, jr.fold_in(epoch_key, p.epoch)
        )
        loss = _squared_error(layers, z, y, judged).mean(-1)
        better = loss < p.best_loss
        best = jax.tree.map(lambda new, old: jnp.where(_like(better, new), new, old), layers, p.best_layers)
        # Janner et al. (2019): an epoch counts as progress where some member improves by over 1%.
        progress = jnp.any(loss < 0.99 * p.best_loss)
        return _Progress(
            layers,
            state,
            best,
            jnp.where(better, loss, p.best_loss),
            jnp.where(progress, 0, p.stale + 1),
            p.epoch + 1,
            p.train_loss.at[p.epoch].set(train_loss),
            p.holdout_loss.at[p.epoch].set(jnp.mean(loss)),
        )

    begin_anew = previous.rows < (1 - settings.warm_start) * size
    layers = jax.tree.map(
        lambda new, old: jnp.where(begin_anew, new, old), fresh.networks.layers, previous.networks.layers
    )
    epochs = jnp.minimum(settings.max_epochs, -(-settings.max_updates // jnp.maximum(count // settings.batch, 1)))
    blank = jnp.full(settings.max_epochs, jnp.nan, z.dtype)  # explicit dtypes: weak ones have the loop traced twice
    start = _Progress(
        layers,
        optimiser.init(layers),
        layers,
        jnp.full(settings.members, jnp.inf, z.dtype),
        jnp.zeros((), jnp.int32),
        jnp.zeros((), jnp.int32),
        blank,
        blank,
    )
    end = jax.lax.while_loop(lambda p: (p.epoch < epochs) & (p.stale < settings.patience), epoch, start)
    fitted = FittedEnsemble(_stack(end.best_layers, inputs, outputs, settings.members), size.astype(jnp.int32))
    error = jnp.sqrt(jnp.mean(_squared_error(end.best_layers, z, y, judged), 0)) * outputs.std
    result = jnp.where(jnp.all(jnp.isfinite(end.best_loss)), Result.converged, Result.not_finite)
    return fitted, FitReport(end.epoch, end.train_loss, end.holdout_loss, error, result)


def held_out(capacity: int, share: float) -> Bool[Array, "capacity"]:
    """Which rows are held out: evenly spread, and the same at every fit, so that no fit has seen them.

    A row is held out where the fractional part of its number times the golden ratio falls below `share`.
    """
    index = jnp.arange(capacity, dtype=jnp.uint32)
    spread = index * jnp.uint32(2654435769)  # 2^32 / golden ratio; wraps
    return spread < jnp.uint32(int(share * (2**32 - 1)))


def _bootstrap(settings: Ensemble, usable, key) -> tuple[Int[Array, "E N"], Int[Array, ""]]:
    """For each member the rows it learns from; the first `count` entries are meant."""
    capacity = usable.shape[0]
    count = jnp.sum(usable)
    compact = jnp.argsort(~usable, stable=True)
    if settings.bootstrap:
        picks = jr.randint(key, (settings.members, capacity), 0, count)
    else:
        picks = jnp.broadcast_to(jnp.arange(capacity), (settings.members, capacity))
    return compact[picks], count


def _epoch(settings: Ensemble, optimiser, layers, state, z, y, rows, count, key):
    """One pass through the rows in minibatches, a new order for each member; the last batch wraps around."""
    capacity = rows.shape[1]
    ranks = jnp.where(jnp.arange(capacity)[None] < count, jr.uniform(key, rows.shape), 2.0)
    shuffled = jnp.take_along_axis(rows, jnp.argsort(ranks, axis=1), axis=1)
    batches = (count + settings.batch - 1) // settings.batch

    def loss(layers: Layers, zb, yb):
        nll = jax.vmap(jax.vmap(negative_log_likelihood, (None, 0, 0)))(layers, zb, yb)
        fit = jnp.sum(jnp.mean(nll, axis=1))
        # The authors' penalty keeps the learned bounds from drifting apart.
        bounds = 0.01 * (jnp.sum(layers.max_log_var) - jnp.sum(layers.min_log_var)) / y.shape[1]
        return fit + bounds + settings.weight_decay * layers.squared_weights(), fit

    def update(i, carry):
        layers, state, total = carry
        position = (i * settings.batch + jnp.arange(settings.batch)) % count
        picked = shuffled[:, position]
        gradient, fit = jax.grad(loss, has_aux=True)(layers, z[picked], y[picked])
        change, state = optimiser.update(gradient, state, layers)
        return optax.apply_updates(layers, change), state, total + fit / settings.members

    layers, state, total = jax.lax.fori_loop(0, batches, update, (layers, state, jnp.zeros((), z.dtype)))
    return layers, state, total / batches


def _squared_error(layers: Layers, z, y, judged) -> Float[Array, "E e"]:
    """Mean squared error of the means over the rows that are judged."""
    mean, _ = jax.vmap(lambda member: jax.vmap(member)(z))(layers)
    weight = judged.astype(z.dtype) / jnp.sum(judged)
    return jnp.einsum("n,pne->pe", weight, (mean - y[None]) ** 2)


def _stack(layers: Layers, inputs: Normaliser, outputs: Normaliser, members: int) -> Network:
    repeat = jax.tree.map(lambda a: jnp.broadcast_to(a, (members, *a.shape)), (inputs, outputs))
    return Network(layers, *repeat)


def _like(flags: Bool[Array, "E"], a: Array) -> Bool[Array, "E *ones"]:
    return flags.reshape((-1,) + (1,) * (a.ndim - 1))
