"""Gaussian processes: one per output, hyperparameters of maximal evidence, inducing inputs for large data sets.

Fitting runs on the host in float64, whatever JAX's settings; the fitted model has the dtype of its training inputs.
Centers are padded to one of a few sizes (`capacity_for`), so that functions that use the model are rarely recompiled
while the data grow.
Source: Rasmussen & Williams (2006), chapters 2 and 5; Deisenroth & Rasmussen (2011), section 2.1.
"""

from functools import partial
from typing import Literal, NamedTuple

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Result
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.models.gp.conditioning import Hyperparameters, Posterior, assemble, condition, exact
from forethought.models.gp.evidence import HyperparameterPenalty, log_evidence
from forethought.models.gp.hyperparameters import Search, Standardizer, initial_guesses, maximize
from forethought.models.gp.posterior import FittedGP, SampledGP
from forethought.models.gp.sparse import evidence_bound, greedy_inputs, recent_inputs, sparse_posterior

__all__ = ["GP", "FittedGP", "GPReport", "SampledGP", "condition"]

SUBSET = 256  # number of rows for the first estimate of a sparse fit's hyperparameters
PASSES = 2  # number of times that inducing inputs and hyperparameters are determined in turn


class GPReport(eqx.Module):
    """Report of a fit, for each output."""

    evidence: Float[np.ndarray, "e"]  # log evidence of `evidence_rows` rows, or its bound with inducing inputs; nats
    evaluations: Int[np.ndarray, "e"]  # number of evaluations of evidence and gradient
    signal_to_noise: Float[np.ndarray, "e"]  # signal / noise, standard deviations
    evidence_rows: int  # number of all rows; with `sparse="recent"`, at most `max_exact`
    centers: int  # number of centers without padding
    result: int

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the record of a run."""
        return {
            "fit_evidence": float(np.sum(self.evidence)),
            "fit_evaluations": float(np.sum(self.evaluations)),
            "signal_to_noise": float(np.max(self.signal_to_noise)),
            "centers": float(self.centers),
        }


@settings
class GP:
    """Settings of Gaussian-process regression."""

    max_exact: int = 512  # largest number of rows for exact conditioning; with more rows the process is sparse
    sparse: Literal["inducing", "recent"] = "inducing"  # inducing inputs chosen from all rows, or the latest rows
    inducing: int = 256  # number of inducing inputs, if `sparse` is inducing
    restarts: int = 2  # number of searches for hyperparameters besides the one that starts from the last fit
    evaluations: int = 150  # maximum evaluations of the evidence in one search
    max_signal_to_noise: float = 500.0  # soft upper limit of signal / noise, standard deviations
    max_lengthscale: float = 100.0  # soft upper limit of lengthscales, in std of the input; lower limit: its inverse
    centered: bool = True  # prior mean is the mean of the outputs; false: zero
    features: int = 128  # random Fourier features in a sampled function

    def __post_init__(self):
        """Check the settings."""
        for name in ("max_exact", "inducing", "restarts", "evaluations", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"GP.{name} must be at least 1, got {getattr(self, name)}.")
        if self.sparse not in ("inducing", "recent"):
            raise ValueError(f"GP.sparse must be inducing or recent, got {self.sparse}.")
        for name in ("max_signal_to_noise", "max_lengthscale"):
            if not getattr(self, name) > 1:
                raise ValueError(f"GP.{name} must be a ratio greater than 1, got {getattr(self, name)}.")

    def init(self, d: int, e: int, *, key: PRNGKeyArray) -> FittedGP:
        """The prior of standardized data: no data, lengthscales and signal 1, noise 0.1."""
        del key
        nothing = Posterior(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)), np.zeros(0))
        return assemble(
            np.zeros((0, d)),
            [nothing] * e,
            lengthscale=np.ones((e, d)),
            signal=np.ones(e),
            noise=np.full(e, 0.1),
            offset=np.zeros(e),
            rows=0,
            capacity=capacity_for(0),
            features=self.features,
            dtype=float,
        )

    def fit(
        self,
        z: Float[Array, "N d"],
        y: Float[Array, "N e"],
        size: Int[Array, ""],
        *,
        previous: FittedGP | None = None,
        key: PRNGKeyArray,
    ) -> tuple[FittedGP, GPReport]:
        """Fit to the first `size` rows; on the host, so not under `jit`.

        Args:
            z, y: inputs and outputs, in order of time, padded.
            size: how many rows hold data.
            previous: an earlier fit, whose hyperparameters are an additional start of the search.
            key: seeds the random starts.
        """
        count, e = int(size), y.shape[1]
        data, targets = np.asarray(z, np.float64)[:count], np.asarray(y, np.float64)[:count]
        if count == 0 or not (np.isfinite(data).all() and np.isfinite(targets).all()):
            return self.init(z.shape[1], e, key=key).astype(z.dtype), _no_fit(e, count)
        inputs, outputs = Standardizer.of(data), Standardizer.of(targets, center=self.centered)
        zs, ys = inputs(data), outputs(targets)
        random = np.random.default_rng(np.asarray(jr.key_data(key)))
        starts = [initial_guesses(z.shape[1], self.restarts, random) for _ in range(e)]
        if previous is not None and int(previous.rows) > 0:
            starts = [[_theta(previous, k, inputs, outputs), *some] for k, some in enumerate(starts)]
        sparse_fit = {"inducing": self._fit_inducing, "recent": self._fit_recent}[self.sparse]
        fit = (self._fit_exactly if count <= self.max_exact else sparse_fit)(zs, ys, starts)
        found = [search.hyperparameters for search in fit.searches]
        fitted = assemble(
            inputs.mean + fit.centers * inputs.scale,
            [_in_units(one, scale) for one, scale in zip(fit.posteriors, outputs.scale, strict=True)],
            lengthscale=np.stack([one.lengthscale for one in found]) * inputs.scale,
            signal=np.array([one.signal for one in found]) * outputs.scale,
            noise=np.array([one.noise for one in found]) * outputs.scale,
            offset=outputs.mean,
            rows=count,
            capacity=self._capacity(count),
            features=self.features,
            dtype=z.dtype,
        )
        return fitted, self._report(fit, outputs)

    def renewed(self, fitted: FittedGP, z: Float[AnyArray, "N d"], y: Float[AnyArray, "N e"]) -> FittedGP:
        """The posterior of `fitted`, computed again from its data, in float64 if JAX's x64 mode is on.

        Moments need float64, but checkpoints store float32.
        """
        data, targets = np.asarray(z, np.float64), np.asarray(y, np.float64)
        given = (fitted.lengthscale, fitted.signal, fitted.noise, fitted.offset)
        arrays = lengthscale, signal, noise, offset = [np.asarray(a, np.float64) for a in given]
        hyperparameters = [Hyperparameters(*one) for one in zip(lengthscale, signal, noise, strict=True)]
        columns = list(zip((targets - offset).T, hyperparameters, strict=True))
        if len(data) <= self.max_exact:
            centers, each = data, [exact(data, one, theirs) for one, theirs in columns]
        else:
            used = np.diagonal(np.asarray(fitted.reduction), axis1=1, axis2=2).any(axis=0)  # all other rows are padding
            centers, own = np.asarray(fitted.z, np.float64)[used], self.sparse == "recent"
            each = [sparse_posterior(centers, data, one, theirs, independent=own) for one, theirs in columns]
        rows, capacity, features = len(data), self._capacity(len(data)), fitted.features
        return assemble(centers, each, *arrays, rows=rows, capacity=capacity, features=features, dtype=float)

    def _capacity(self, count: int) -> int:
        if count > self.max_exact and self.sparse == "inducing":
            return self.inducing
        return capacity_for(min(count, self.max_exact))

    def _fit_exactly(self, z, y, starts) -> "_Fit":
        searches = self._maximize([partial(log_evidence, z=z, y=one) for one in y.T], starts)
        posteriors = [exact(z, one, search.hyperparameters) for one, search in zip(y.T, searches, strict=True)]
        return _Fit(z, searches, posteriors, len(z))

    def _fit_inducing(self, z, y, starts) -> "_Fit":
        """Fits hyperparameters to a subset of the data, then alternates choosing inducing inputs and fitting."""
        subset = np.linspace(0, len(z) - 1, min(SUBSET, len(z))).astype(int)
        searches = self._maximize([partial(log_evidence, z=z[subset], y=one[subset]) for one in y.T], starts)
        for _ in range(PASSES):
            u = z[greedy_inputs(z, [search.hyperparameters for search in searches], self.inducing)]
            objectives = [partial(evidence_bound, u=u, z=z, y=one) for one in y.T]
            searches = self._maximize(objectives, [[search.theta] for search in searches])
        posteriors = [
            sparse_posterior(u, z, one, search.hyperparameters) for one, search in zip(y.T, searches, strict=True)
        ]
        return _Fit(u, searches, posteriors, len(z))

    def _fit_recent(self, z, y, starts) -> "_Fit":
        """Fits hyperparameters to the latest rows; the other rows only add information at the inducing inputs."""
        searches = self._fit_exactly(z[-self.max_exact :], y[-self.max_exact :], starts).searches
        found = [search.hyperparameters for search in searches]
        u = z[recent_inputs(z, found, self.max_exact)]
        posteriors = [
            sparse_posterior(u, z, one, theirs, independent=True) for one, theirs in zip(y.T, found, strict=True)
        ]
        return _Fit(u, searches, posteriors, self.max_exact)

    def _maximize(self, objectives, starts) -> list[Search]:
        return maximize(objectives, starts, self._penalty, evaluations=self.evaluations)

    @property
    def _penalty(self) -> HyperparameterPenalty:
        return HyperparameterPenalty(self.max_signal_to_noise, self.max_lengthscale)

    def _report(self, fit: "_Fit", outputs: Standardizer) -> GPReport:
        searches = fit.searches
        found = [search.hyperparameters for search in searches]
        evidence = [s.value + self._penalty(s.theta)[0] for s in searches] - fit.evidence_rows * np.log(outputs.scale)
        result = Result.converged if all(s.converged for s in searches) else Result.budget_exhausted
        result = Result.not_positive_definite if any(s.failed for s in searches) else result
        return GPReport(
            np.asarray(evidence),
            np.array([s.evaluations for s in searches]),
            np.array([one.signal / one.noise for one in found]),
            fit.evidence_rows,
            len(fit.centers),
            int(result),
        )


class _Fit(NamedTuple):
    """A fit to standardized data."""

    centers: Float[np.ndarray, "m d"]
    searches: list[Search]
    posteriors: list[Posterior]
    evidence_rows: int  # number of rows in the evidence of the searches


def capacity_for(size: int) -> int:
    """The number of centers that `size` rows are padded to: 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, ...

    There are two sizes per doubling, and four from 128 on: there, more padding would cost more time than a
    recompilation, since predictions use all pairs of centers.
    """
    capacity = 32
    while capacity < size:
        doubling = 1 << (capacity.bit_length() - 1)
        capacity += doubling // (4 if doubling >= 128 else 2)
    return capacity


def _theta(fitted: FittedGP, k: int, inputs: Standardizer, outputs: Standardizer) -> Float[np.ndarray, "p"]:
    """The hyperparameters of output k, of standardized data and as logarithms."""
    scale = outputs.scale[k]
    own = [fitted.signal[k] / scale, fitted.noise[k] / scale]
    return np.log(np.append(np.asarray(fitted.lengthscale[k], np.float64) / inputs.scale, np.asarray(own, np.float64)))


def _in_units(one: Posterior, scale: float) -> Posterior:
    """From standardized outputs back to the units of y."""
    return Posterior(one.beta / scale, one.reduction / scale**2, one.root / scale, one.unexplained)


def _no_fit(e: int, size: int) -> GPReport:
    none = np.full(e, np.nan)
    result = Result.not_finite if size else Result.converged
    return GPReport(none, np.zeros(e, int), none, 0, 0, int(result))
