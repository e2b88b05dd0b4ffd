"""A Gaussian mixture over inputs and outputs as a model p(y | z), fitted by expectation-maximization.

The number of components is the one with the highest likelihood of held-out rows, or the lowest Bayesian information
criterion.  Fitting runs on the host in float64; the fitted model has the dtype of its training inputs.
Source: Bishop (2006), section 9.2; Levine & Abbeel (2014), section 3, and their published code (largest number of
components, rows for each).
Differs: the published code has as many components as the rows allow (`selection="rows"`), starts from random
responsibilities, and leaves light components without weight; here k-means starts, and light components are restarted.
"""

from typing import Literal

import equinox as eqx
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Result, UsageError
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.models.expectation_maximization import (
    MixtureFit,
    best_count,
    bic,
    expectation,
    expectation_maximization,
    initial_components,
)
from forethought.models.gp.hyperparameters import Standardizer
from forethought.models.mixture import Components, FittedGMM, GaussianMixture

__all__ = ["GMM", "FittedGMM", "GMMReport", "GaussianMixture"]

GOLDEN = 0.6180339887498949  # its multiples, modulo 1, are evenly spread over [0, 1)


class GMMReport(eqx.Module):
    """Report of a fit."""

    components: int
    tried: tuple[int, ...]  # numbers of components that were compared
    log_likelihood: float  # per row, nats
    iterations: int
    restarted: int  # restarts of light components
    result: int

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics for the record of a run."""
        return {
            "components": float(self.components),
            "fit_log_likelihood": self.log_likelihood,
            "fit_iterations": float(self.iterations),
            "restarted_components": float(self.restarted),
        }


@settings
class GMM:
    """Settings of a Gaussian mixture over inputs and outputs."""

    max_components: int = 20  # largest number of components; of the published code of guided policy search
    rows_per_component: int = 40  # rows of data for each component, at least; of the same code
    selection: Literal["holdout", "bic", "rows"] = "holdout"  # what decides the number of components
    holdout: float = 0.2  # share of the rows that compare numbers of components, if `selection` is holdout
    max_rows: int = 5000  # rows that a fit uses, evenly spread over the data
    iterations: int = 100  # largest number of steps of expectation-maximization
    tolerance: float = 1e-4  # change of the log-likelihood per row at which it ends, nats
    regularization: float = 1e-6  # variance added to each coordinate of a component, relative to that of the data

    def __post_init__(self):
        """Check the settings."""
        for name in ("max_components", "rows_per_component", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"GMM.{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.holdout < 1:
            raise ValueError(f"GMM.holdout must be between 0 and 1, got {self.holdout}.")
        if self.max_rows < 2:
            raise ValueError(f"GMM.max_rows must be at least 2, got {self.max_rows}.")
        for name in ("tolerance", "regularization"):
            if not getattr(self, name) > 0:
                raise ValueError(f"GMM.{name} must be greater than 0, got {getattr(self, name)}.")

    def init(self, d: int, e: int, *, key: PRNGKeyArray) -> FittedGMM:
        """One component with mean 0 and covariance I."""
        del key
        return FittedGMM.of(_standard(d + e), d, dtype=float)

    def fit(
        self,
        z: Float[Array, "N d"],
        y: Float[Array, "N e"],
        size: Int[Array, ""],
        *,
        previous: FittedGMM | None = None,
        key: PRNGKeyArray,
    ) -> tuple[FittedGMM, GMMReport]:
        """Fit to the first `size` rows; on the host, so not under `jit`.

        Args:
            z, y: inputs and outputs, padded.
            size: how many rows hold data.
            previous: an earlier fit, where expectation-maximization starts for its number of components.
            key: seeds k-means and the restarts of light components.
        """
        count = int(size)
        points = np.concatenate([np.asarray(a, np.float64)[:count] for a in (z, y)], axis=1)
        if count == 0 or not np.isfinite(points).all():
            return self.init(z.shape[1], y.shape[1], key=key), _no_fit(count)
        last = previous.mixture if previous is not None and int(previous.rows) > 0 else None
        components, report = self._fit(points, last, key)
        return FittedGMM.of(components, z.shape[1], rows=count, dtype=z.dtype), report

    def fit_density(
        self, points: Float[AnyArray, "N D"], *, previous: GaussianMixture | None = None, key: PRNGKeyArray
    ) -> tuple[GaussianMixture, GMMReport]:
        """A mixture fitted to rows [x; u; x'], for `GaussianMixture.prior`; on the host.

        Args:
            points: the rows; the mixture has their dtype.
            previous: an earlier mixture, where expectation-maximization starts for its number of components.
            key: seeds k-means and the restarts of light components.
        Raises:
            UsageError: there are no rows, or they are not finite.
        """
        rows = np.asarray(points, np.float64)
        if len(rows) == 0 or not np.isfinite(rows).all():
            problem = "there are none" if len(rows) == 0 else "some are not finite"
            raise UsageError(f"A Gaussian mixture is fitted to rows of finite numbers, and {problem}.")
        components, report = self._fit(rows, previous, key)
        return GaussianMixture.of(components.padded(), points.dtype), report

    def _fit(
        self, points: Float[np.ndarray, "N D"], previous: GaussianMixture | None, key: PRNGKeyArray
    ) -> tuple[Components, GMMReport]:
        """The mixture of all `points`, in their units."""
        scaling = Standardizer.of(points)
        rows = scaling(points[np.linspace(0, len(points) - 1, min(len(points), self.max_rows)).astype(int)])
        random = np.random.default_rng(np.asarray(jr.key_data(key)))
        last = None if previous is None else _standardized(previous, scaling, self.regularization)
        limit = max(1, min(self.max_components, len(rows) // self.rows_per_component))
        fit, tried = self._choose(rows, last, limit, random)
        K, D = fit.components.means.shape
        outcome = Result.converged if fit.converged else Result.budget_exhausted
        density = fit.log_likelihood - float(np.sum(np.log(scaling.scale)))
        report = GMMReport(K, tuple(tried), density, fit.iterations, fit.restarted, int(outcome))
        w, means, covs = fit.components
        scale = scaling.scale
        return Components(w, scaling.mean + means * scale, covs * scale * scale[:, None]), report

    def _choose(
        self, rows: Float[np.ndarray, "N D"], last: Components | None, limit: int, random: np.random.Generator
    ) -> tuple[MixtureFit, list[int]]:
        """The fit with the number of components that `selection` prefers, and the numbers tried."""
        held = np.arange(len(rows)) * GOLDEN % 1 < self.holdout
        held = held if self.selection == "holdout" and limit > 1 and 0 < held.sum() < len(rows) else held & False
        train, rest = rows[~held], rows[held]

        def run(start: Components, data: Float[np.ndarray, "N D"]) -> MixtureFit:
            return expectation_maximization(
                data,
                start,
                iterations=self.iterations,
                tolerance=self.tolerance,
                regularization=self.regularization,
                random=random,
            )

        def fit(count: int) -> MixtureFit:
            if last is not None and last.size == count:
                return run(last, train)
            return run(initial_components(train, count, self.regularization, random), train)

        def score(fit: MixtureFit) -> float:
            return float(expectation(rest, fit.components)[1].mean()) if held.any() else bic(fit, len(train))

        if self.selection == "rows":
            return fit(max(2, limit)), [max(2, limit)]
        start = 1 if last is None else min(last.size, limit)
        best, tried = best_count(fit, score, start=start, limit=limit)
        return (run(best.components, rows) if held.any() else best), tried


def _standard(D: int) -> Components:
    return Components(np.ones(1), np.zeros((1, D)), np.eye(D)[None])


def _standardized(mixture: GaussianMixture, scaling: Standardizer, regularization: float) -> Components:
    """The components of an earlier mixture in standardized coordinates."""
    w, means, covs = mixture.components
    scaled = covs / scaling.scale / scaling.scale[:, None]
    scaled = 0.5 * (scaled + np.swapaxes(scaled, 1, 2)) + regularization * np.eye(means.shape[1])
    return Components(w / w.sum(), (means - scaling.mean) / scaling.scale, scaled)


def _no_fit(size: int) -> GMMReport:
    return GMMReport(0, (), float("nan"), 0, 0, int(Result.not_finite if size else Result.converged))
