"""Positions with less of the sensors' noise, from what the speeds say about them.

Symbols: over an episode, p_t a measured position, v_t the measured speed, dt the time of a step;
    r_t = p_{t+1} - p_t - dt (v_t + v_{t+1}) / 2          the gap that the trapezoidal rule leaves
    p_t = truth + n_t, n_t ~ N(0, s^2) of the sensors;    r_t = n_{t+1} - n_t + e_t, e_t ~ N(0, q^2) of the rule
Neighbouring gaps share a noise: cov(r_t, r_{t+1}) = -s^2 and var(r_t) = 2 s^2 + q^2 tell s and q.  Then the sum of the
gaps before t, o_t, is a random walk of steps q seen through noise s, and its smoothed values w minimise
    sum_t (o_t - w_t)^2 / s^2 + sum_t (w_{t+1} - w_t)^2 / q^2,        p_t becomes p_t + w_t - o_t.
Why: a regression whose inputs are noisy finds slopes too small, and calls noise what they miss.
Source: Rauch, Tung & Striebel (1965) for the smoother, here one tridiagonal solve; Box & Jenkins (1970) for s and q, as
those of a moving average of order 1.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float, Int

from forethought.core import Transition
from forethought.core.data import AnyArray
from forethought.dynamics.space import StateSpace

LEAST_STEP = 0.03  # of q, in s: the data of a few episodes cannot tell a smaller one


def smoothed(space: StateSpace, steps: Transition, episode: Int[AnyArray, "N"], *, count: int) -> Transition:
    """The `steps` [N] with smoothed positions in the first `count` rows, as NumPy arrays.

    `episode` numbers the episode of each row, in order.  Positions are those that have a speed in `space`.  One whose
    neighbouring gaps do not oppose each other has no noise of sensors, and stays as it is.
    """
    x, x_next, episode = np.array(steps.x), np.array(steps.x_next), np.asarray(episode)[:count]
    gaps = np.asarray(trapezoidal_gaps(space, steps), np.float64)[:count]
    for (i, _), gap in zip(space.speeds, gaps.T, strict=True):
        noise, step = _variances(gap, episode)
        for number in np.unique(episode) if noise > 0 else ():
            rows = np.flatnonzero(episode == number)
            correction = _correction(gap[rows], noise / step)
            x[rows, i] += correction[:-1]
            x_next[rows, i] += correction[1:]
    return dataclasses.replace(steps, x=x, x_next=x_next)


def trapezoidal_gaps(space: StateSpace, steps: Transition) -> Float[Array, "N p"]:
    """What positions moved beyond the trapezoidal rule, for each in `space.speeds`; angles the shorter way round."""
    x, x_next = jnp.asarray(steps.x), jnp.asarray(steps.x_next)
    i, j = jnp.asarray(space.speeds).T
    return jax.vmap(space.difference)(x_next, x)[:, i] - 0.5 * space.dt * (x + x_next)[:, j]


def _variances(gap: Float[np.ndarray, "N"], episode: Int[np.ndarray, "N"]) -> tuple[float, float]:
    """`s^2` and `q^2`; the first is not positive where there is no noise to be seen."""
    products = (gap[:-1] * gap[1:])[episode[:-1] == episode[1:]]
    if not len(products):
        return 0.0, 0.0
    noise = -float(np.mean(products))
    return noise, max(float(np.mean(gap**2)) - 2 * noise, LEAST_STEP**2 * noise)


def _correction(gap: Float[np.ndarray, "T"], ratio: float) -> Float[np.ndarray, "S"]:
    """`w - o` of each of the S = T + 1 states; `ratio` is `s^2 / q^2`."""
    walk = np.concatenate([[0], np.cumsum(gap)])
    bands = np.zeros((2, len(walk)))  # of I + ratio D'D: above the diagonal, and the diagonal
    bands[0, 1:] = -ratio
    bands[1] = 1 + 2 * ratio
    bands[1, [0, -1]] -= ratio
    return scipy.linalg.solveh_banded(bands, walk) - walk
