"""Recalibration: one temperature for each output, a factor on the model's standard deviation.

Symbols: residual r [N, e] of predictions on data that the model was not fitted to, predicted std s [N, e]; temperature
tau [e]; levels p of central intervals of a Gaussian.  The coverage at level p is the share of |r| / (tau s) below the
quantile of p; the expected calibration error is the mean of |coverage - p| over the levels.
Source: the error: Kuleshov, Fenner & Ermon, Accurate uncertainties for deep learning using calibrated regression
(2018), section 3.  A factor on the standard deviation: Levi, Gispan, Giladi & Fetaya, Evaluating and calibrating
uncertainty prediction in regression tasks (2022), section 4.
Differs: tau minimizes the calibration error itself, not the negative log-likelihood, which a few large errors decide.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.special import ndtri

from forethought.core import ContinuousConditional, DiagonalGaussian
from forethought.core.draws import HasDrawMany, draw_many

LEVELS = np.linspace(0.05, 0.95, 19)  # of central intervals
_QUANTILES = ndtri((1 + LEVELS) / 2)  # of |standard normal|
TEMPERATURES = np.geomspace(0.05, 20, 241)  # that are tried; the middle one is 1
FUNCTIONS = 20  # sampled at most of a model that samples one at a time: each keeps a copy of the model


def calibration_error(residual: Float[np.ndarray, "N e"], std: Float[np.ndarray, "N e"]) -> Float[np.ndarray, "e"]:
    """The expected calibration error of each output: 0 is perfect, about 0.5 the worst; NaN without data."""
    if not len(residual):
        return np.full(residual.shape[1], np.nan)
    coverage = np.mean(_ratio(residual, std)[None] <= _QUANTILES[:, None, None], axis=1)
    return np.mean(np.abs(coverage - LEVELS[:, None]), axis=0)


def temperatures(residual: Float[np.ndarray, "N e"], std: Float[np.ndarray, "N e"]) -> Float[np.ndarray, "e"]:
    """The temperature of each output with the least calibration error; of equal ones, that nearest to 1."""
    ratio = np.sort(_ratio(residual, std), axis=0)
    found = np.ones(ratio.shape[1])
    for j, ratios in enumerate(ratio.T if len(ratio) else ()):
        if not ratios[-1] > 0:
            continue  # exact predictions: nothing to calibrate
        coverage = np.searchsorted(ratios, TEMPERATURES[:, None] * _QUANTILES[None], side="right") / len(ratios)
        error = np.mean(np.abs(coverage - LEVELS[None]), axis=1)
        best = np.flatnonzero(error <= error.min() + 1e-12)
        found[j] = TEMPERATURES[best[np.argmin(np.abs(np.log(TEMPERATURES[best])))]]
    return found


def _ratio(residual: np.ndarray, std: np.ndarray) -> np.ndarray:
    """|r| / s; zero where both are zero."""
    residual = np.abs(residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(residual == 0, 0, residual / std)


class Recalibrated(eqx.Module):
    """A model whose predicted standard deviations are multiplied by a temperature; its means are unchanged.

    A sampled function is moved away from (or toward) the mean by the same factor, so that disagreement is scaled too.
    """

    model: ContinuousConditional
    temperature: Float[Array, "e"]

    @property
    def member_count(self) -> int:
        """Members of an ensemble; 1 for any other model."""
        return getattr(self.model, "member_count", 1)

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The predictive distribution of `y` [e]."""
        y = self.model(z)
        return DiagonalGaussian(y.mean, self.temperature * y.std)

    def draw(self, *, key: PRNGKeyArray) -> "RecalibratedFunction":
        """One function sampled from the posterior."""
        return RecalibratedFunction(self.model, self.model.draw(key=key), self.temperature)

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple["RecalibratedFunction", int]:
        """`count` sampled functions, shared between particles in the way of the model."""
        few = count
        if not isinstance(self.model, HasDrawMany):
            few = next(k for k in range(min(FUNCTIONS, count), 0, -1) if count % k == 0)
        functions, copies = draw_many(self.model, few, key=key)
        groups = few // copies

        def repeated(tree: Any) -> Any:
            return jax.tree.map(lambda a: jnp.broadcast_to(a, (groups, *a.shape)) if eqx.is_array(a) else a, tree)

        return RecalibratedFunction(repeated(self.model), functions, repeated(self.temperature)), count // groups


class RecalibratedFunction(eqx.Module):
    """A function sampled from a recalibrated model."""

    model: ContinuousConditional
    function: ContinuousConditional
    temperature: Float[Array, "*draws e"]  # stacked as the functions are

    def __call__(self, z: Float[Array, "d"]) -> DiagonalGaussian:
        """The distribution of `y` [e] given this function."""
        middle, y = self.model(z).mean, self.function(z)
        return DiagonalGaussian(middle + self.temperature * (y.mean - middle), self.temperature * y.std)

    def draw(self, *, key: PRNGKeyArray) -> "RecalibratedFunction":
        """Itself: it has no epistemic uncertainty."""
        del key
        return self
