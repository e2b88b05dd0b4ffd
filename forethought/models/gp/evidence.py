"""The log evidence of a Gaussian process and its gradient, in closed form, in float64 on the host.

Symbols: N data z [N, d], y [N]; K = k(Z, Z) + noise^2 I; alpha = K^-1 y; theta [d + 2] the logarithms of lengthscale
[d], signal and noise (standard deviations).
    log p(y) = -1/2 y'alpha - 1/2 log|K| - N/2 log(2 pi)
    d log p / d theta_i = 1/2 tr((alpha alpha' - K^-1) dK/dtheta_i)
The code uses NumPy and LAPACK, not JAX: no recompilation when the data grow, and LAPACK's `potri` computes K^-1 from
the Cholesky factor in 2/3 N^3 operations.
Source: Rasmussen & Williams (2006), equations 2.30 and 5.9; the penalty is that of PILCO's published code (hypCurb.m).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import lapack

from forethought.models.gp.conditioning import Hyperparameters, kernel

LOG_2PI = 1.8378770664093453

Evaluation = tuple[float, Float[np.ndarray, "p"]]


class HyperparameterPenalty(NamedTuple):
    """A penalty in nats, negligible within limits and steep beyond them; inputs are standardized.

    `sum (log l / log lengthscale)^power + (log(signal / noise) / log ratio)^power`
    """

    ratio: float  # upper limit of signal / noise
    lengthscale: float  # upper limit of lengthscales, in std of their input; its inverse is the lower limit
    power: int = 30

    def __call__(self, theta: Float[np.ndarray, "p"]) -> Evaluation:
        """The penalty and its gradient."""
        scales, ratio = theta[:-2] / np.log(self.lengthscale), (theta[-2] - theta[-1]) / np.log(self.ratio)
        share = np.append(scales, ratio)
        slope = self.power * share ** (self.power - 1)
        slope /= np.append(np.full(len(scales), np.log(self.lengthscale)), np.log(self.ratio))
        return float(np.sum(share**self.power)), np.append(slope, -slope[-1])


def hyperparameters_of(theta: Float[np.ndarray, "p"]) -> Hyperparameters:
    """The hyperparameters whose logarithms are `theta` [d + 2]."""
    return Hyperparameters(np.exp(theta[:-2]), float(np.exp(theta[-2])), float(np.exp(theta[-1])))


def log_evidence(theta: Float[np.ndarray, "p"], z: Float[np.ndarray, "N d"], y: Float[np.ndarray, "N"]) -> Evaluation:
    """`log p(y)`, in nats, and its gradient; minus infinity if K is not positive definite."""
    given = hyperparameters_of(theta)
    count, noise_variance = len(y), given.noise**2
    k = kernel(z, z, given)
    noisy = k.copy()
    noisy.flat[:: count + 1] += noise_variance
    factor, failed = lapack.dpotrf(noisy, lower=1, overwrite_a=1)
    if failed:
        return -np.inf, np.zeros_like(theta)
    alpha, _ = lapack.dpotrs(factor, y, lower=1)
    value = -0.5 * y @ alpha - np.sum(np.log(np.diagonal(factor))) - 0.5 * count * LOG_2PI
    lower, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(lower) + np.tril(lower, -1).T
    slope = np.outer(alpha, alpha) - inverse
    by_noise = noise_variance * np.trace(slope)
    slope *= k
    by_scales = 0.5 * lengthscale_slopes(slope, z / given.lengthscale, z / given.lengthscale)
    return float(value), np.concatenate([by_scales, [np.sum(slope), by_noise]])


def lengthscale_slopes(
    weight: Float[np.ndarray, "A B"], a: Float[np.ndarray, "A d"], b: Float[np.ndarray, "B d"]
) -> Float[np.ndarray, "d"]:
    """`sum_ij weight_ij (a_ik - b_jk)^2` for each k, by matrix products: the slope in `log l_k`, up to a factor."""
    return weight.sum(1) @ a**2 + weight.sum(0) @ b**2 - 2 * np.einsum("ak,ak->k", a, weight @ b)
