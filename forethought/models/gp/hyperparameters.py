"""Hyperparameters of maximal evidence: L-BFGS-B from several starts, on standardized data.

Symbols as in `evidence.py`.  The objective is the log evidence (or its bound, with inducing inputs) minus a penalty on
extreme lengthscales and signal-to-noise ratios.  Inputs and outputs have standard deviation 1 here, so the same limits
and starts are used for every problem.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from forethought.models.gp.conditioning import Hyperparameters
from forethought.models.gp.evidence import Evaluation, HyperparameterPenalty, hyperparameters_of

# Within these limits noise^2 / signal^2 >= 1e-10, far above the rounding of K (N times 1e-16), so K + noise^2 I has a
# Cholesky factor for all data; jitter on the diagonal would act as additional noise.
SCALE_LIMITS = (1e-3, 1e4)  # of a lengthscale
SIGNAL_LIMITS = (1e-2, 1e2)
NOISE_LIMITS = (1e-3, 1e2)

NO_VALUE = 1e25  # loss if the evidence is undefined: the line search of L-BFGS-B does not support infinity

Objective = Callable[[Float[np.ndarray, "p"]], Evaluation]


class Standardizer(NamedTuple):
    """Shift and scale of coordinates."""

    mean: Float[np.ndarray, "d"]
    scale: Float[np.ndarray, "d"]

    @staticmethod
    def of(data: Float[np.ndarray, "N d"], *, center: bool = True) -> "Standardizer":
        """From data; the scale of a constant coordinate is its magnitude, or 1 if it is zero."""
        size = np.max(np.abs(data), axis=0, initial=0)
        size = np.where(size > 0, size, 1.0)
        relative = data / size  # its squares do not overflow
        mean = relative.mean(0) if len(data) else np.zeros_like(size)
        about = mean if center else np.zeros_like(mean)
        spread = np.sqrt(np.mean((relative - about) ** 2, axis=0)) if len(data) else np.zeros_like(size)
        return Standardizer(about * size, np.where(spread > 1e-9, spread, 1.0) * size)

    def __call__(self, data: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
        """Standardized coordinates."""
        return (data - self.mean) / self.scale


class Search(NamedTuple):
    """Result of the search for one output's hyperparameters."""

    theta: Float[np.ndarray, "p"]
    value: float  # log evidence of the standardized outputs minus the penalty, nats
    evaluations: int
    converged: bool

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The hyperparameters found, for standardized data."""
        return hyperparameters_of(self.theta)

    @property
    def failed(self) -> bool:
        """Whether the evidence was undefined at every evaluated point."""
        return self.value <= -NO_VALUE


def maximize(
    objectives: Sequence[Objective],
    starts: Sequence[Sequence[Float[np.ndarray, "p"]]],
    penalty: HyperparameterPenalty,
    *,
    evaluations: int,
) -> list[Search]:
    """For each output, the best result of the searches from its `starts`; each output has its own thread.

    The linear algebra releases Python's lock, so the threads run in parallel.
    """
    with ThreadPoolExecutor(len(objectives)) as threads:
        jobs = [threads.submit(_best, *each, penalty, evaluations) for each in zip(objectives, starts, strict=True)]
        return [job.result() for job in jobs]


def _best(
    objective: Objective, starts: Sequence[Float[np.ndarray, "p"]], penalty: HyperparameterPenalty, evaluations: int
) -> Search:
    searches = [_search(objective, start, penalty, evaluations) for start in starts]
    best = max(searches, key=lambda search: search.value)
    return best._replace(evaluations=sum(search.evaluations for search in searches))


def _search(
    objective: Objective, start: Float[np.ndarray, "p"], penalty: HyperparameterPenalty, evaluations: int
) -> Search:
    from scipy.optimize import minimize  # not at the top: it changes the warning filters

    def loss(theta):
        value, slope = objective(theta)
        extra, extra_slope = penalty(theta)
        if not np.isfinite(value):
            return NO_VALUE, np.zeros_like(theta)
        return extra - value, extra_slope - slope

    limits = np.log([*[SCALE_LIMITS] * (len(start) - 2), SIGNAL_LIMITS, NOISE_LIMITS])
    start = np.clip(start, limits[:, 0], limits[:, 1])
    options = {"maxfun": evaluations, "maxiter": evaluations}
    end = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return Search(end.x, -float(end.fun), int(end.nfev), end.status != 1)  # 1: evaluations used up


def initial_guesses(d: int, count: int, random: np.random.Generator) -> list[Float[np.ndarray, "p"]]:
    """`count` starts: that of the published PILCO code (lengthscales and signal one standard deviation, noise a tenth
    of it), then random ones around it.
    """
    rule = np.log(np.append(np.ones(d), [1.0, 0.1]))
    spread = np.append(np.ones(d), [0.5, 1.5])
    return [rule, *(rule + spread * random.standard_normal(d + 2) for _ in range(count - 1))]
