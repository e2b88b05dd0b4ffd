"""Bootstrapped ensemble of probabilistic networks, trained and evaluated as one batched matrix product.

Symbols: E members, N rows of data (rows from `size` on are padding), z [N, d], y [N, e]; B rows in a minibatch.
Each member is trained on its own bootstrap sample of the training rows, in its own order.  A fixed share of the rows is
held out; each member keeps the weights of the epoch with the lowest held-out error.
Source: Chua et al. (2018), section 4; early stopping and the choice of the best epoch follow Janner et al. (2019).
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import DiagonalGaussian, Result
from forethought.core.settings import settings
from forethought.models.network import Network
from forethought.networks.gaussian_mlp import GaussianMLP, negative_log_likelihood
from forethought.networks.normalizer import Normalizer, mean_and_std

LIMITS_PENALTY = 0.01  # weight of the width between the limits of the log-variance, as in the authors' code


class FittedEnsemble(eqx.Module):
    """E probabilistic networks; their disagreement is the epistemic uncertainty."""

    networks: Network  # every array stacked [E]
    rows: Int[Array, ""]  # number of rows that the ensemble was fitted to

    @property
    def member_count(self) -> int:
        """E."""
        return self.networks.inputs.mean.shape[0]

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """Mean and variance of the mixture of all members; disagreement of the members adds to the variance.

        Differs: the mixture is replaced by a Gaussian with its first two moments.
        """
        each = eqx.filter_vmap(lambda network: network(z))(self.networks)
        return DiagonalGaussian(jnp.mean(each.mean, 0), jnp.sqrt(jnp.mean(each.std**2, 0) + jnp.var(each.mean, 0)))

    def draw(self, *, key: PRNGKeyArray) -> Network:
        """A uniformly random member."""
        index = jr.randint(key, (), 0, self.member_count)
        return jax.tree.map(lambda a: a[index], self.networks)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple[Network, int]:
        """All members, stacked [E], each to be used for `count / E` particles.

        Differs: the same number of particles for each member (as in the authors' code) instead of independent draws.
        Raises: ValueError if E does not divide `count`.
        """
        del key
        if count % self.member_count:
            raise ValueError(
                f"particles ({count}) must be a multiple of the ensemble's members ({self.member_count}); "
                f"use {self.member_count * max(1, round(count / self.member_count))}."
            )
        return self.networks, count // self.member_count


class EnsembleReport(eqx.Module):
    """Report of a fit, for each member.  Losses are per epoch, NaN after a member's last epoch."""

    epochs: Int[Array, "E"]
    train_loss: Float[Array, "E max_epochs"]  # nats per output
    holdout_loss: Float[
        Array, "E max_epochs"
    ]  # mean squared error of the standardized outputs; the training loss if no rows are held out
    holdout_error: Float[Array, "E e"]  # root mean squared error with the final weights, in units of y
    result: Int[Array, ""]

    @property
    def last_loss(self) -> float:
        """Training loss of the last epoch, averaged over members."""
        losses, epochs = np.asarray(self.train_loss), np.asarray(self.epochs)
        return float(np.mean(losses[np.arange(len(epochs)), epochs - 1]))

    @property
    def best_holdout(self) -> float:
        """Held-out mean squared error with the final weights, averaged over members."""
        losses = np.asarray(self.holdout_loss)
        return float(np.mean(np.min(np.where(np.isnan(losses), np.inf, losses), axis=1)))

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the record of a run."""
        epochs = float(np.max(np.asarray(self.epochs)))
        return {"fit_epochs": epochs, "fit_loss": self.last_loss, "holdout_mse": self.best_holdout}


@settings
class Ensemble:
    """Settings of a bootstrapped ensemble of probabilistic networks."""

    members: int = 5  # networks in the ensemble
    hidden: tuple[int, ...] = (200, 200)  # units in each hidden layer
    learning_rate: float = 1e-3  # step size of Adam
    weight_decay: float = 5e-5  # coefficient of the L2 penalty on the weights
    batch: int = 32  # rows in a minibatch, for each member
    max_epochs: int = 300  # maximum number of passes through the data in one fit
    max_updates: int = 10000  # maximum number of gradient steps in one fit
    patience: int = 60  # epochs without improvement of the held-out error after which a member stops
    holdout: float = 0.1  # share of the data held out for early stopping
    bootstrap: bool = True  # each member is trained on its own resample of the data
    warm_start: float = 0.2  # largest share of new data for which a fit starts from the last weights; 1: always

    def __post_init__(self):
        """Check the settings."""
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
        """The ensemble before it is fitted: random weights, no scaling."""
        return _init(self, d, e, key)

    def fit(
        self,
        z: Float[Array, "N d"],
        y: Float[Array, "N e"],
        size: Int[Array, ""],
        *,
        previous: FittedEnsemble | None = None,
        key: PRNGKeyArray,
    ) -> tuple[FittedEnsemble, EnsembleReport]:
        """Fit to the first `size` rows; compiled once for each N.

        Args:
            z, y: inputs and outputs, padded.
            size: how many rows hold data.
            previous: initial weights, if `warm_start` allows it; weights fitted to much less data are overfitted, and
                further training does not undo this.
            key: seeds the bootstrap, the order of the rows and the weights.
        """
        init_key, fit_key = jr.split(key)
        fresh = self.init(z.shape[1], y.shape[1], key=init_key)
        return _fit_side_by_side(self, fresh if previous is None else previous, fresh, z, y, size, fit_key)


@eqx.filter_jit  # one compilation in place of many small ones
def _init(settings: Ensemble, d: int, e: int, key: PRNGKeyArray) -> FittedEnsemble:
    def network(k: PRNGKeyArray) -> Network:
        return Network(
            GaussianMLP.init(d, e, hidden=settings.hidden, key=k), Normalizer.identity(d), Normalizer.identity(e)
        )

    return FittedEnsemble(eqx.filter_vmap(network)(jr.split(key, settings.members)), jnp.zeros((), jnp.int32))


def _fit_side_by_side(
    settings: Ensemble, previous: FittedEnsemble, fresh: FittedEnsemble, z, y, size, key
) -> tuple[FittedEnsemble, EnsembleReport]:
    """On a CPU, train each half of the members in its own thread: XLA uses only one core for products of a minibatch.

    The split is always the same, so results do not depend on the number of cores.
    """
    members, size = settings.members, jnp.asarray(size, jnp.int32)
    layers = previous.networks.layers, fresh.networks.layers
    if jax.default_backend() != "cpu" or members == 1:
        halves = [(0, layers)]
    else:
        middle = (members + 1) // 2
        halves = [(0, _members(layers, slice(0, middle))), (middle, _members(layers, slice(middle, members)))]
    inputs = [(old, previous.rows, new, z, y, size, jr.fold_in(key, first)) for first, (old, new) in halves]
    # JAX traces in one thread at a time; compiled programs can run in several threads.
    programs = [_lowered(settings, *_signature(each)) for each in inputs]
    with ThreadPoolExecutor(len(halves)) as threads:
        list(threads.map(lambda program: program(), set(programs)))  # compiles: halves of equal size share a program
        parts = list(threads.map(lambda program, each: jax.block_until_ready(program()(*each)), programs, inputs))
    networks, reports = (jax.tree.map(lambda *a: _joined(a), *each) for each in zip(*parts, strict=True))
    return FittedEnsemble(networks, size), reports


def _members(layers: tuple[GaussianMLP, GaussianMLP], chosen: slice) -> tuple[GaussianMLP, GaussianMLP]:
    """Select members with NumPy: JAX would compile a program for every shape."""
    return jax.tree.map(lambda a: np.asarray(a)[chosen], layers)


def _signature(inputs: tuple) -> tuple[jax.tree_util.PyTreeDef, tuple[jax.ShapeDtypeStruct, ...]]:
    """The key of a compiled program: everything that the compilation depends on."""
    leaves, structure = jax.tree.flatten(inputs)
    return structure, tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in leaves)


@functools.lru_cache(maxsize=32)
def _lowered(settings: Ensemble, structure: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> Callable[[], Callable]:
    """The traced fit for inputs of these shapes; the first call compiles it."""
    lowered = jax.jit(functools.partial(_fit, settings)).lower(*jax.tree.unflatten(structure, leaves))
    return functools.cache(lowered.compile)


def _joined(parts: tuple[Array, ...]) -> Array:
    """Join the members of both parts with NumPy; the joint result is the worse of the two."""
    if len(parts) == 1:
        return parts[0]
    arrays = [np.asarray(part) for part in parts]
    return jnp.asarray(np.concatenate(arrays) if arrays[0].ndim else np.maximum(*arrays))


class _Progress(NamedTuple):
    """The state of a fit between epochs."""

    layers: GaussianMLP
    optimizer: optax.OptState
    best_layers: GaussianMLP
    best_loss: Float[Array, "E"]
    stale: Int[Array, "E"]
    epochs: Int[Array, "E"]
    epoch: Int[Array, ""]
    train_loss: Float[Array, "E max_epochs"]
    holdout_loss: Float[Array, "E max_epochs"]


def _fit(
    settings: Ensemble, before: GaussianMLP, before_rows, fresh: GaussianMLP, z, y, size, key
) -> tuple[Network, EnsembleReport]:
    """The members whose weights are stacked in `before` and `fresh`, as one batched computation."""
    boot_key, epoch_key = jr.split(key)
    members = fresh.min_log_var.shape[0]
    valid = jnp.arange(z.shape[0]) < size
    held = valid & held_out(z.shape[0], settings.holdout)
    held = held & (jnp.sum(valid & ~held) >= 2)  # with fewer than three rows, all are used for training
    kept = (valid & ~held).astype(z.dtype)
    inputs, outputs = Normalizer.of_inputs(z, kept), Normalizer.of_outputs(y, kept)
    varies = mean_and_std(y, kept)[1] != 0
    z, y = jax.vmap(inputs)(z), jnp.where(varies[None], jax.vmap(outputs)(y), 0)  # constant outputs are not learned
    rows, count = _bootstrap(settings, members, valid & ~held, boot_key)
    validation = _validation(settings, held, valid)
    optimizer = optax.adam(settings.learning_rate)

    def epoch(p: _Progress) -> _Progress:
        layers, state, train_loss = _epoch(
            settings, optimizer, p.layers, p.optimizer, z, y, rows, count, jr.fold_in(epoch_key, p.epoch)
        )
        loss = _squared_error(layers, z, y, *validation).mean(-1) if settings.holdout > 0 else train_loss
        active = p.stale < settings.patience
        better = active & (loss < p.best_loss)
        # Janner et al. (2019): an epoch is an improvement if the error decreases by more than 1%.
        too_little = loss >= p.best_loss - 0.01 * jnp.abs(p.best_loss)  # false at first, when the best is infinite
        stale = jnp.where(better & ~too_little, 0, p.stale + 1)
        return _Progress(
            layers,
            state,
            jax.tree.map(lambda new, old: jnp.where(_like(better, new), new, old), layers, p.best_layers),
            jnp.where(better, loss, p.best_loss),
            jnp.where(active, stale, p.stale),
            p.epochs + active,
            p.epoch + 1,
            p.train_loss.at[:, p.epoch].set(jnp.where(active, train_loss, jnp.nan)),
            p.holdout_loss.at[:, p.epoch].set(jnp.where(active, loss, jnp.nan)),
        )

    start_fresh = before_rows < (1 - settings.warm_start) * size
    layers = jax.tree.map(lambda new, old: jnp.where(start_fresh, new, old), fresh, before)
    most = jnp.minimum(settings.max_epochs, -(-settings.max_updates // jnp.maximum(count // settings.batch, 1)))
    none = jnp.zeros(members, jnp.int32)
    blank = jnp.full((members, settings.max_epochs), jnp.nan, z.dtype)  # a weak dtype would cause a second trace
    worst = jnp.full(members, jnp.inf, z.dtype)
    start = _Progress(layers, optimizer.init(layers), layers, worst, none, none, jnp.int32(0), blank, blank)
    end = jax.lax.while_loop(lambda p: (p.epoch < most) & jnp.any(p.stale < settings.patience), epoch, start)
    error = jnp.sqrt(_squared_error(end.best_layers, z, y, *validation)) * outputs.std[None]
    result = jnp.where(jnp.all(jnp.isfinite(end.best_loss)), Result.converged, Result.not_finite)
    report = EnsembleReport(end.epochs, end.train_loss, end.holdout_loss, error, result)
    return _stack(end.best_layers, inputs, outputs, members), report


def held_out(capacity: int, share: float) -> Bool[Array, "capacity"]:
    """Which rows are held out: evenly spread and the same in every fit, so that no earlier fit was trained on them.

    A row is held out if the fractional part of its index times the golden ratio is below `share`.
    """
    index = jnp.arange(capacity, dtype=jnp.uint32)
    spread = index * jnp.uint32(2654435769)  # 2^32 / golden ratio; wraps
    return spread < jnp.uint32(int(share * (2**32 - 1)))


def _validation(settings: Ensemble, held, valid) -> tuple[Int[Array, "J"], Float[Array, "J"]]:
    """The rows that determine the best epoch, and their weights: the held-out rows, or all rows if there are none."""
    used = jnp.where(jnp.any(held), held, valid)
    capacity = held.shape[0]
    most = min(int(settings.holdout * capacity) + 2, capacity) if settings.holdout > 0 else capacity
    rows = jnp.argsort(~used, stable=True)[:most]
    return rows, used[rows] / jnp.maximum(jnp.sum(used), 1)


def _bootstrap(settings: Ensemble, members: int, usable, key) -> tuple[Int[Array, "E N"], Int[Array, ""]]:
    """The training rows of each member: the first `count` entries."""
    capacity = usable.shape[0]
    count = jnp.sum(usable)
    compact = jnp.argsort(~usable, stable=True)
    if settings.bootstrap:
        picks = jr.randint(key, (members, capacity), 0, jnp.maximum(count, 1))
    else:
        picks = jnp.broadcast_to(jnp.arange(capacity), (members, capacity))
    return compact[picks], count


def _epoch(settings: Ensemble, optimizer, layers, state, z, y, rows, count, key):
    """One pass through the rows in minibatches, in a new random order per member; the last batch wraps around."""
    capacity = rows.shape[1]
    ranks = jnp.where(jnp.arange(capacity)[None] < count, jr.uniform(key, rows.shape), 2.0)
    shuffled = jnp.take_along_axis(rows, jnp.argsort(ranks, axis=1), axis=1)
    batches = (count + settings.batch - 1) // settings.batch

    def loss(layers: GaussianMLP, zb, yb):
        each, likelihood = jax.vmap(functools.partial(training_loss, settings))(layers, zb, yb)
        return jnp.sum(each), likelihood

    def update(i, carry):
        layers, state, total = carry
        position = (i * settings.batch + jnp.arange(settings.batch)) % jnp.maximum(count, 1)
        picked = shuffled[:, position]
        gradient, fit = jax.grad(loss, has_aux=True)(layers, z[picked], y[picked])
        change, state = optimizer.update(gradient, state, layers)
        return optax.apply_updates(layers, change), state, total + fit

    layers, state, total = jax.lax.fori_loop(0, batches, update, (layers, state, jnp.zeros(rows.shape[0], z.dtype)))
    return layers, state, total / jnp.maximum(batches, 1)


def training_loss(
    settings: Ensemble, layers: GaussianMLP, z: Float[Array, "B d"], y: Float[Array, "B e"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The loss of one member on a minibatch, and the negative log-likelihood, which is a part of the loss.

    A penalty on the width between the limits of the log-variance keeps the limits close to the data.
    """
    likelihood = jnp.mean(jax.vmap(negative_log_likelihood, (None, 0, 0))(layers, z, y))
    regularization = LIMITS_PENALTY * layers.limits_gap() + settings.weight_decay * layers.squared_weights()
    return likelihood + regularization, likelihood


def _squared_error(layers: GaussianMLP, z, y, rows, weight) -> Float[Array, "E e"]:
    """Mean squared error of the predicted means over these rows."""
    mean, _ = jax.vmap(lambda member: jax.vmap(member)(z[rows]))(layers)
    return jnp.einsum("n,pne->pe", weight, (mean - y[rows][None]) ** 2)


def _stack(layers: GaussianMLP, inputs: Normalizer, outputs: Normalizer, members: int) -> Network:
    repeat = jax.tree.map(lambda a: jnp.broadcast_to(a, (members, *a.shape)), (inputs, outputs))
    return Network(layers, *repeat)


def _like(flags: Bool[Array, "E"], a: Array) -> Bool[Array, "E *ones"]:
    return flags.reshape((-1,) + (1,) * (a.ndim - 1))
