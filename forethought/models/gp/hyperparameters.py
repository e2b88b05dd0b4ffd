"""Hyper-parameters by maximal evidence: L-BFGS-B from several starts, on standardized data.

Symbols as in `gp_evidence.py`.  What is maximized is the log evidence (or its bound, with inducing inputs) less a
penalty on extreme lengthscales and ratios of signal to noise.  Inputs and outputs have spread 1 here, so that the box
that the search stays in, and its starts, mean the same for every problem.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from forethought.models.gp.evidence import Curb, Evaluation

# The box: noise^2 / signal^2 >= 1e-10 in it, far above the rounding of K (N times 1e-16), so that K + noise^2 I has a
# Cholesky factor whatever the data; a jitter would be a second noise.
SCALE_LIMITS = (1e-3, 1e4)  # of a lengthscale
SIGNAL_LIMITS = (1e-2, 1e2)
NOISE_LIMITS = (1e-3, 1e2)

NO_VALUE = 1e25  # for the line search to turn back from: L-BFGS-B cannot take infinity

Objective = Callable[[Float[np.ndarray, "p"]], Evaluation]


class Standard(NamedTuple):
    """Shift and scale of coordinates."""

    mean: Float[np.ndarray, "d"]
    scale: Float[np.ndarray, "d"]

    @staticmethod
    def of(data: Float[np.ndarray, "N d"], *, center: bool = True) -> "Standard":
        """From data; a coordinate that does not vary is measured by its size, zeros by 1."""
        size = np.max(np.abs(data), axis=0, initial=0)
        size = np.where(size > 0, size, 1.0)
        relative = data / size  # its squares do not overflow
        mean = relative.mean(0) if len(data) else np.zeros_like(size)
        about = mean if center else np.zeros_like(mean)
        spread = np.sqrt(np.mean((relative - about) ** 2, axis=0)) if len(data) else np.zeros_like(size)
        return Standard(about * size, np.where(spread > 1e-9, spread, 1.0) * size)

    def __call__(self, data: Float[np.ndarray, "N d"]) -> Float[np.ndarray, "N d"]:
        """In units of the spread."""
        return (data - self.mean) / self.scale


class Search(NamedTuple):
    """How the search for one output's hyper-parameters ended."""

    theta: Float[np.ndarray, "p"]
    value: float  # log evidence of the standardized outputs less the penalty, nats
    evaluations: int
    converged: bool

    @property
    def failed(self) -> bool:
        """There was no evidence wherever it looked."""
        return self.value <= -NO_VALUE


def maximize(
    objectives: Sequence[Objective],
    starts: Sequence[Sequence[Float[np.ndarray, "p"]]],
    curb: Curb,
    *,
    evaluations: int,
) -> list[Search]:
    """The best end of the searches from each output's `starts`; one thread for each output.

    The linear algebra leaves Python's lock, so that the outputs share the cores there are.
    """
    with ThreadPoolExecutor(len(objectives)) as threads:
        jobs = [threads.submit(_best, *each, curb, evaluations) for each in zip(objectives, starts, strict=True)]
        return [job.result() for job in jobs]


def _best(objective: Objective, starts: Sequence[Float[np.ndarray, "p"]], curb: Curb, evaluations: int) -> Search:
    searches = [_search(objective, start, curb, evaluations) for start in starts]
    best = max(searches, key=lambda search: search.value)
    return best._replace(evaluations=sum(search.evaluations for search in searches))


def _search(objective: Objective, start: Float[np.ndarray, "p"], curb: Curb, evaluations: int) -> Search:
    from scipy.optimize import minimize  # here, as it changes the filters of warnings

    def loss(theta):
        value, slope = objective(theta)
        penalty, wall = curb(theta)
        if not np.isfinite(value):
            return NO_VALUE, np.zeros_like(theta)
        return penalty - value, wall - slope

    limits = np.log([*[SCALE_LIMITS] * (len(start) - 2), SIGNAL_LIMITS, NOISE_LIMITS])
    start = np.clip(start, limits[:, 0], limits[:, 1])
    options = {"maxfun": evaluations, "maxiter": evaluations}
    end = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return Search(end.x, -float(end.fun), int(end.nfev), end.status != 1)  # 1: evaluations used up


def first_guesses(d: int, count: int, random: np.random.Generator) -> list[Float[np.ndarray, "p"]]:
    """`count` starts: that of the published PILCO code (spread of the inputs, of the outputs, a tenth of it), then
    random ones about it.
    """
    rule = np.log(np.append(np.ones(d), [1.0, 0.1]))
    spread = np.append(np.ones(d), [0.5, 1.5])
    return [rule, *(rule + spread * random.standard_normal(d + 2) for _ in range(count - 1))]
