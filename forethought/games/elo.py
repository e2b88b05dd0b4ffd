"""Elo ratings from the results of matches, with error bars.

Notation
    R_i      rating of player i, in Elo;  P(i beats j) = 1 / (1 + 10^(-(R_i - R_j) / 400))  (Bradley & Terry, 1952)
    n_ij     games between i and j;  s_ij points of i in them (a draw counts a half), s_ij + s_ji = n_ij
Ratings maximize the likelihood  sum_ij s_ij log P(i beats j);  their covariance is the inverse of its curvature (the
Fisher information).  Only differences matter: one player's rating is fixed at 0.  A draw counted as half a win and half
a loss has less variance than the model assumes, so frequent draws make the error bars too wide, never too narrow.
"""

from dataclasses import dataclass
from math import comb

import numpy as np

from forethought.core import UsageError

ELO = 400 / np.log(10)  # Elo in one unit of log-odds


@dataclass(frozen=True)
class Ratings:
    """Ratings and their standard errors."""

    elo: np.ndarray  # [P]
    std: np.ndarray  # [P], standard error of the difference to the anchor; 0 for the anchor


def rate(points: np.ndarray, games: np.ndarray, *, anchor: int = 0, prior: float = 1.0) -> Ratings:
    """Ratings of P players by maximum likelihood, with the anchor at 0.

    Args:
        points: [P, P], of player i against player j.
        games: [P, P], symmetric.
        anchor: the player whose rating is 0.
        prior: drawn games added to each pairing that was played.  0 is pure maximum likelihood, under which a player
            that won (or lost) everything has no finite rating.

    Raises:
        UsageError: the players are not all connected by games, or there is no finite rating.
    """
    games, points = np.asarray(games, float), np.asarray(points, float)
    n = games + prior * (games > 0)
    s = points + prior / 2 * (games > 0)
    if not _connected(n > 0):
        raise UsageError("some players are connected to the others by no game, so their ratings cannot be compared.")
    if not _connected(s > 0):
        raise UsageError("a player won or lost every game, so the likelihood has no maximum; use a prior above 0.")
    others = np.arange(len(n)) != anchor
    logits = np.zeros(len(n))
    for _ in range(100):  # Newton's method on a concave function
        gradient, information = _derivatives(logits, s, n)
        step = np.linalg.solve(information[np.ix_(others, others)], gradient[others])
        logits[others] += step / max(1.0, np.abs(step).max())  # at most one unit per step
        if np.abs(step).max() < 1e-10:
            break
    _, information = _derivatives(logits, s, n)
    std = np.zeros(len(n))
    std[others] = np.sqrt(np.diag(np.linalg.inv(information[np.ix_(others, others)])))
    return Ratings(ELO * logits, ELO * std)


def share_won(won: int, games: int, *, level: float = 0.95) -> tuple[float, float]:
    """A confidence interval for the probability to win, from `won` of `games` games that had a winner.

    It is exact: it contains the true probability with at least the probability `level`.

    Source: Clopper & Pearson (1934).
    """
    tail = (1 - level) / 2
    return _least_chance(won, games, tail), 1 - _least_chance(games - won, games, tail)


def _least_chance(won: int, games: int, tail: float) -> float:
    """The probability to win at which `won` or more wins have the probability `tail`, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(50):
        p = (low + high) / 2
        at_least = sum(comb(games, k) * p**k * (1 - p) ** (games - k) for k in range(won, games + 1))
        low, high = (low, p) if at_least > tail else (p, high)
    return low


def _derivatives(logits: np.ndarray, s: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient [P] of the log-likelihood, and the negative of its Hessian [P, P]."""
    p = 1 / (1 + np.exp(logits[None, :] - logits[:, None]))
    weight = n * p * (1 - p)
    return (s - n * p).sum(axis=1), np.diag(weight.sum(axis=1)) - weight


def _connected(edges: np.ndarray) -> bool:
    """Whether every player can be reached from every other along directed edges."""
    reach = np.linalg.matrix_power((edges | np.eye(len(edges), dtype=bool)).astype(int), len(edges)) > 0
    return bool(reach.all())
