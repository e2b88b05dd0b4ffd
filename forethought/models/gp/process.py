"""Gaussian processes: one for each output, hyper-parameters by evidence, inducing inputs where data are many.

Fitting runs on the host in float64, whatever JAX's settings; the fitted value has the dtype of the inputs it was given.
Centers are padded to one of few sizes (`capacity_for`), so that growing data compile what uses them seldom.
Source: Rasmussen & Williams (2006), chapters 2 and 5; Deisenroth & Rasmussen (2011), section 2.1.
"""

from functools import partial
from typing import Literal

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Result
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.models.gp import sparse
from forethought.models.gp.conditioning import Hypers, Posterior, assemble, condition, exact
from forethought.models.gp.evidence import Curb, hypers_of, log_evidence
from forethought.models.gp.hyperparameters import Search, Standard, first_guesses, maximize
from forethought.models.gp.posterior import FittedGP, SampledGP

__all__ = ["GP", "FittedGP", "GPReport", "SampledGP", "condition"]

SUBSET = 256  # rows that first hyper-parameters come from, where there are more than are conditioned on exactly
PASSES = 2  # choices of inducing inputs in one fit: they depend on the hyper-parameters and these on them


class GPReport(eqx.Module):
    """What a fit did, for each output."""

    evidence: Float[np.ndarray, "e"]  # log evidence of the data, or its bound with inducing inputs; nats
    evaluations: Int[np.ndarray, "e"]  # of evidence and gradient
    signal_to_noise: Float[np.ndarray, "e"]  # ratio of standard deviations
    centers: int  # without padding
    result: int

    @property
    def metrics(self) -> dict[str, float]:
        """For the record of a run."""
        return {
            "fit_evidence": float(np.sum(self.evidence)),
            "fit_evaluations": float(np.sum(self.evaluations)),
            "signal_to_noise": float(np.max(self.signal_to_noise)),
            "centers": float(self.centers),
        }


@settings
class GP:
    """Settings of Gaussian-process regression."""

    max_exact: int = 512  # rows of data; what comes beyond them, `beyond` says
    beyond: Literal["inducing", "recent"] = "inducing"  # inducing inputs from all rows, or the latest for `max_exact`
    inducing: int = 256  # inducing inputs
    restarts: int = 2  # searches for hyper-parameters, besides the one from the last fit
    evaluations: int = 150  # of the evidence in one search, at most
    max_signal_to_noise: float = 500.0  # ratio of standard deviations beyond which a penalty rises steeply
    max_lengthscale: float = 100.0  # in spreads of the input, also its inverse the least; likewise
    centered: bool = True  # far from the data predict the outputs' mean; False: zero
    features: int = 128  # frequencies in a sampled function

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name in ("max_exact", "inducing", "restarts", "evaluations", "features"):
            if getattr(self, name) < 1:
                raise ValueError(f"GP.{name} must be at least 1, got {getattr(self, name)}.")
        if self.beyond not in ("inducing", "recent"):
            raise ValueError(f"GP.beyond is inducing or recent, got {self.beyond}.")
        for name in ("max_signal_to_noise", "max_lengthscale"):
            if not getattr(self, name) > 1:
                raise ValueError(f"GP.{name} is a ratio greater than 1, got {getattr(self, name)}.")

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
            previous: its hyper-parameters are one more start of the search.
            key: seeds the random starts.
        """
        count, e = int(size), y.shape[1]
        data, targets = np.asarray(z, np.float64)[:count], np.asarray(y, np.float64)[:count]
        if count == 0 or not (np.isfinite(data).all() and np.isfinite(targets).all()):
            return self.init(z.shape[1], e, key=key).astype(z.dtype), _no_fit(e, count)
        inputs, outputs = Standard.of(data), Standard.of(targets, center=self.centered)
        zs, ys = inputs(data), outputs(targets)
        random = np.random.default_rng(np.asarray(jr.key_data(key)))
        starts = [first_guesses(z.shape[1], self.restarts, random) for _ in range(e)]
        if previous is not None and int(previous.rows) > 0:
            starts = [[_theta(previous, k, inputs, outputs), *some] for k, some in enumerate(starts)]
        beyond = {"inducing": self._fit_sparsely, "recent": self._fit_recent}[self.beyond]
        fit = self._fit_exactly if count <= self.max_exact else beyond
        centers, searches, each = fit(zs, ys, starts)
        fitted = assemble(
            inputs.mean + centers * inputs.scale,
            [_raw(one, scale) for one, scale in zip(each, outputs.scale, strict=True)],
            lengthscale=np.stack([hypers_of(s.theta).lengthscale for s in searches]) * inputs.scale,
            signal=np.array([hypers_of(s.theta).signal for s in searches]) * outputs.scale,
            noise=np.array([hypers_of(s.theta).noise for s in searches]) * outputs.scale,
            offset=outputs.mean,
            rows=count,
            capacity=self._capacity(count),
            features=self.features,
            dtype=z.dtype,
        )
        return fitted, self._report(searches, outputs, count, len(centers))

    def renewed(self, fitted: FittedGP, z: Float[AnyArray, "N d"], y: Float[AnyArray, "N e"]) -> FittedGP:
        """The posterior of `fitted`, from its data, in float64 where JAX has that.

        Moments need it, and checkpoints lack it.
        """
        data, targets = np.asarray(z, np.float64), np.asarray(y, np.float64)
        of = (fitted.lengthscale, fitted.signal, fitted.noise, fitted.offset)
        arrays = lengthscale, signal, noise, offset = [np.asarray(a, np.float64) for a in of]
        hypers = [Hypers(*one) for one in zip(lengthscale, signal, noise, strict=True)]
        columns = list(zip((targets - offset).T, hypers, strict=True))
        if len(data) <= self.max_exact:
            centers, each = data, [exact(data, one, hyper) for one, hyper in columns]
        else:
            used = np.diagonal(np.asarray(fitted.reduction), axis1=1, axis2=2).any(axis=0)  # the others are padding
            centers, own = np.asarray(fitted.z, np.float64)[used], self.beyond == "recent"
            each = [sparse.posterior(centers, data, one, hyper, independent=own) for one, hyper in columns]
        rows, capacity, features = len(data), self._capacity(len(data)), fitted.features
        return assemble(centers, each, *arrays, rows=rows, capacity=capacity, features=features, dtype=float)

    def _capacity(self, count: int) -> int:
        if count > self.max_exact and self.beyond == "inducing":
            return self.inducing
        return capacity_for(min(count, self.max_exact))

    def _fit_exactly(self, z, y, starts) -> "_Fit":
        searches = self._maximize([partial(log_evidence, z=z, y=one) for one in y.T], starts)
        return z, searches, [exact(z, one, hypers_of(s.theta)) for one, s in zip(y.T, searches, strict=True)]

    def _fit_sparsely(self, z, y, starts) -> "_Fit":
        """Hyper-parameters of a part of the data first; then choice and bound in turn."""
        part = np.linspace(0, len(z) - 1, min(SUBSET, len(z))).astype(int)
        searches = self._maximize([partial(log_evidence, z=z[part], y=one[part]) for one in y.T], starts)
        for _ in range(PASSES):
            u = z[sparse.choose(z, [hypers_of(s.theta) for s in searches], self.inducing)]
            objectives = [partial(sparse.evidence_bound, u=u, z=z, y=one) for one in y.T]
            searches = self._maximize(objectives, [[s.theta] for s in searches])
        each = [sparse.posterior(u, z, one, hypers_of(s.theta)) for one, s in zip(y.T, searches, strict=True)]
        return u, searches, each

    def _fit_recent(self, z, y, starts) -> "_Fit":
        """Hyper-parameters of the latest rows; all others say what they can about the function there."""
        _, searches, _ = self._fit_exactly(z[-self.max_exact :], y[-self.max_exact :], starts)
        hypers = [hypers_of(s.theta) for s in searches]
        u = z[sparse.latest(z, hypers, self.max_exact)]
        each = [sparse.posterior(u, z, one, h, independent=True) for one, h in zip(y.T, hypers, strict=True)]
        return u, searches, each

    def _maximize(self, objectives, starts) -> list[Search]:
        return maximize(objectives, starts, self._curb, evaluations=self.evaluations)

    @property
    def _curb(self) -> Curb:
        return Curb(self.max_signal_to_noise, self.max_lengthscale)

    def _report(self, searches: list[Search], outputs: Standard, size: int, centers: int) -> GPReport:
        hypers = [hypers_of(s.theta) for s in searches]
        evidence = [s.value + self._curb(s.theta)[0] for s in searches] - size * np.log(outputs.scale)
        result = Result.converged if all(s.converged for s in searches) else Result.budget_exhausted
        result = Result.not_positive_definite if any(s.failed for s in searches) else result
        return GPReport(
            np.asarray(evidence),
            np.array([s.evaluations for s in searches]),
            np.array([one.signal / one.noise for one in hypers]),
            centers,
            int(result),
        )


_Fit = tuple[Float[np.ndarray, "m d"], list[Search], list[Posterior]]


def capacity_for(size: int) -> int:
    """The number of centers that `size` rows are padded to: 32, 48, 64, 96, 128, 160, 192, 224, 256, 320, ...

    Two sizes for each doubling, four from 128 on: there predictions, which visit all pairs, cost more than to compile
    them once more.
    """
    capacity = 32
    while capacity < size:
        doubling = 1 << (capacity.bit_length() - 1)
        capacity += doubling // (4 if doubling >= 128 else 2)
    return capacity


def _theta(fitted: FittedGP, k: int, inputs: Standard, outputs: Standard) -> Float[np.ndarray, "p"]:
    """The hyper-parameters of output k as the search sees them."""
    scale = outputs.scale[k]
    own = [fitted.signal[k] / scale, fitted.noise[k] / scale]
    return np.log(np.append(np.asarray(fitted.lengthscale[k], np.float64) / inputs.scale, np.asarray(own, np.float64)))


def _raw(one: Posterior, scale: float) -> Posterior:
    """From standardized outputs back to their units."""
    return Posterior(one.beta / scale, one.reduction / scale**2, one.root / scale, one.remains)


def _no_fit(e: int, size: int) -> GPReport:
    none = np.full(e, np.nan)
    result = Result.not_finite if size else Result.converged
    return GPReport(none, np.zeros(e, int), none, 0, int(result))
