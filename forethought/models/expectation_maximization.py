"""Expectation-maximization for mixtures of Gaussians, in float64 on the host, with restarts of light components.

Symbols: rows p_i [D], i < N, standardized; components k < K with weight w_k, mean m_k [D], covariance C_k [D, D]
    responsibility   r_ik = w_k N(p_i | m_k, C_k) / sum_l w_l N(p_i | m_l, C_l)                          (E-step)
    count            n_k = sum_i r_ik,   w_k = n_k / N,   m_k = sum_i r_ik p_i / n_k                     (M-step)
    covariance       C_k = sum_i r_ik (p_i - m_k)(p_i - m_k)' / n_k + regularization I
Log-likelihoods are means over the rows, in nats.
A component is light if n_k < D + 1: the rows do not determine its covariance.  It is restarted at rows that the mixture
explains badly, and removed after `RESTARTS` restarts.
Source: Bishop, Pattern Recognition and Machine Learning (2006), section 9.2.2.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from forethought.models.mixture import Components

LOG_2PI = 1.8378770664093453
NEGLIGIBLE = 1e-12  # responsibility of a row that a component's covariance leaves out
RESTARTS = 2  # of each light component, before it is removed
LLOYD_STEPS = 10  # steps of k-means that make the first responsibilities
BADLY_EXPLAINED = 0.05  # share of the rows, those with the lowest likelihood, at which components restart


class MixtureFit(NamedTuple):
    """The result of expectation-maximization: the parameters of the highest likelihood that was met."""

    components: Components
    log_likelihood: float  # mean over the rows, nats
    iterations: int
    restarted: int  # number of restarts of light components
    converged: bool


def expectation_maximization(
    points: Float[np.ndarray, "N D"],
    start: Components,
    *,
    iterations: int,
    tolerance: float,
    regularization: float,
    random: np.random.Generator,
) -> MixtureFit:
    """Maximize the likelihood of `points` from `start` on, until it changes by less than `tolerance`.

    The regularization can lower the likelihood a little, so the best parameters are returned; a mixture with a light
    component does not count, since the likelihood of a component without width is unbounded.
    """
    current, best, before = start, MixtureFit(start, -np.inf, 0, 0, False), -np.inf
    restarted, most = 0, RESTARTS * start.size
    for iteration in range(iterations + 1):
        shares, each = expectation(points, current)
        likelihood = float(each.mean())
        light = _light(points, shares)
        if light.any():
            again = light & (np.cumsum(light) <= most - restarted)
            shares = _without(_restarted(points, shares, each, again, random), light & ~again)
            restarted += int(again.sum())
            best = best._replace(log_likelihood=-np.inf)
        elif likelihood > best.log_likelihood:
            best = best._replace(components=current, log_likelihood=likelihood)
        best = best._replace(iterations=iteration, restarted=restarted)
        if not light.any() and abs(likelihood - before) < tolerance:
            return best._replace(converged=True)
        before = likelihood
        current = maximization(points, shares, regularization)
    if best.log_likelihood == -np.inf:  # light to the end
        best = best._replace(components=current, log_likelihood=float(expectation(points, current)[1].mean()))
    return best


def expectation(
    points: Float[np.ndarray, "N D"], mixture: Components
) -> tuple[Float[np.ndarray, "N K"], Float[np.ndarray, "N"]]:
    """The responsibilities of the components, and the log-likelihood of each row."""
    joint = np.empty((len(points), mixture.size))
    for k, (weight, mean, cov) in enumerate(zip(*mixture, strict=True)):
        root = np.linalg.cholesky(cov)
        white = scipy.linalg.blas.dtrsm(1.0, root, (points - mean).T, lower=1)
        log_det = np.sum(np.log(np.diagonal(root)))
        joint[:, k] = np.log(weight) - 0.5 * np.einsum("di,di->i", white, white) - log_det
    joint -= 0.5 * points.shape[1] * LOG_2PI
    each = logsumexp(joint, axis=1)
    return np.exp(joint - each[:, None]), each


def maximization(
    points: Float[np.ndarray, "N D"], shares: Float[np.ndarray, "N K"], regularization: float
) -> Components:
    """The parameters of the highest likelihood, given the responsibilities `shares`."""
    counts = shares.sum(0) + 10 * np.finfo(float).eps
    means = shares.T @ points / counts[:, None]
    covs = np.empty((len(counts), points.shape[1], points.shape[1]))
    for k, (count, mean) in enumerate(zip(counts, means, strict=True)):
        rows = shares[:, k] > NEGLIGIBLE
        deviations = np.sqrt(shares[rows, k, None]) * (points[rows] - mean)
        covs[k] = deviations.T @ deviations / count
        covs[k].flat[:: points.shape[1] + 1] += regularization
    return Components(counts / counts.sum(), means, covs)


def initial_components(
    points: Float[np.ndarray, "N D"], count: int, regularization: float, random: np.random.Generator
) -> Components:
    """`count` components at the clusters of k-means, whose first centers are distant rows.

    Source: Arthur & Vassilvitskii (2007), "k-means++", section 2.2.
    """
    centers = points[random.integers(len(points), size=1)]
    while len(centers) < count:
        nearest = _squared_distances(points, centers).min(1)
        total = nearest.sum()
        row = random.choice(len(points), p=nearest / total) if total > 0 else random.integers(len(points))
        centers = np.concatenate([centers, points[row][None]])
    for _ in range(LLOYD_STEPS):
        own = np.argmin(_squared_distances(points, centers), axis=1)
        centers = np.stack([points[own == k].mean(0) if (own == k).any() else centers[k] for k in range(count)])
    own = np.argmin(_squared_distances(points, centers), axis=1)
    shares = (own[:, None] == np.arange(count)[None]).astype(float)
    return maximization(points, shares[:, shares.any(0)], regularization)


def best_count(
    fit: Callable[[int], MixtureFit], score: Callable[[MixtureFit], float], *, start: int, limit: int
) -> tuple[MixtureFit, list[int]]:
    """The fit with the best score; numbers of components are doubled, or halved, from `start` on while it improves.

    Returns: the fit, and the numbers that were tried.
    """
    best, tried = fit(start), [start]
    value = score(best)
    for ladder in (_doubled(start, limit), _halved(start)):
        improved = False
        for count in ladder:
            candidate = fit(count)
            tried.append(count)
            if not (new := score(candidate)) > value:
                break
            best, value, improved = candidate, new, True
        if improved:
            break
    return best, tried


def bic(fit: MixtureFit, rows: int) -> float:
    """The Bayesian information criterion, in nats and negated: the higher, the better.

    Source: Schwarz (1978), "Estimating the dimension of a model".
    """
    K, D = fit.components.means.shape
    parameters = K - 1 + K * D + K * D * (D + 1) / 2
    return rows * fit.log_likelihood - 0.5 * parameters * np.log(rows)


def _doubled(count: int, limit: int) -> Iterator[int]:
    while count < limit:
        count = min(2 * count, limit)
        yield count


def _halved(count: int) -> Iterator[int]:
    while count > 1:
        count //= 2
        yield count


def _light(points: Float[np.ndarray, "N D"], shares: Float[np.ndarray, "N K"]) -> Bool[np.ndarray, "K"]:
    light = shares.sum(0) < points.shape[1] + 1
    light[np.argmax(shares.sum(0))] = False  # one is always kept
    return light


def _restarted(
    points: Float[np.ndarray, "N D"],
    shares: Float[np.ndarray, "N K"],
    each: Float[np.ndarray, "N"],
    light: Bool[np.ndarray, "K"],
    random: np.random.Generator,
) -> Float[np.ndarray, "N K"]:
    """Responsibilities that give each light component the neighbors of a row that the mixture explains badly."""
    shares = shares.copy()
    D, K = points.shape[1], shares.shape[1]
    size = min(max(2 * (D + 1), len(points) // (4 * K)), len(points))
    worst = np.argsort(each)[: max(1, int(BADLY_EXPLAINED * len(points)))]
    for k in np.flatnonzero(light):
        near = np.argsort(np.sum((points - points[random.choice(worst)]) ** 2, axis=1))[:size]
        shares[near] = np.arange(K) == k
    return shares


def _without(shares: Float[np.ndarray, "N K"], removed: Bool[np.ndarray, "K"]) -> Float[np.ndarray, "N L"]:
    kept = shares[:, ~removed]
    total = kept.sum(1, keepdims=True)
    return np.where(total > 0, kept / np.where(total > 0, total, 1), 1 / kept.shape[1])


def _squared_distances(points: Float[np.ndarray, "N D"], centers: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "N K"]:
    squares = np.sum(points**2, 1)[:, None] + np.sum(centers**2, 1)[None] - 2 * points @ centers.T
    return np.maximum(squares, 0)
