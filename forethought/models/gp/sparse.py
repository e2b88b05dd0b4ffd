"""Gaussian processes with inducing inputs: a bound on the log evidence, its gradient, and the posterior.

Symbols: M inducing inputs u [M, d]; C = k(U, U) = L L', P = k(U, Z) [M, N]; A = C + P P' / noise^2 = L B L' with
B = I + W W', W = L^-1 P / noise; b = A^-1 P y / noise^2.  A is never formed: its rounding errors are larger than the
least eigenvalue of C, while B has no eigenvalue below 1.
    bound = log N(y; 0, P' C^-1 P + noise^2 I) - tr(k(Z, Z) - P' C^-1 P) / (2 noise^2)
The posterior over the function's values at U is the one that makes the bound tight, so that mean and variance are
    mean(z) = k(z, U) b,   var(z) = signal^2 - k(z, U) (C^-1 - A^-1) k(U, z)
With U = Z the posterior is exact.  Inducing inputs are rows of the data, chosen greedily: each time the row with the
largest variance given the chosen rows.  They are not optimized by gradients, which would add M d e parameters.
Source: Titsias (2009), Variational learning of inducing variables, equations 9 and 10; Burt et al. (2020), Convergence
of sparse variational inference in Gaussian processes regression, section 4.2 (the choice).
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int

from forethought.models.gp.conditioning import Hyperparameters, Posterior, kernel
from forethought.models.gp.evidence import LOG_2PI, Evaluation, hyperparameters_of, lengthscale_slopes

JITTER = 1e-10  # on the diagonal of C, in signal variances, since inducing values have no noise


def greedy_inputs(
    z: Float[np.ndarray, "N d"], hyperparameters: Sequence[Hyperparameters], count: int
) -> Int[np.ndarray, "m"]:
    """Rows of `z` for inducing inputs, at most `count`: each time that with the largest variance given the chosen rows,
    in units of the noise variance and summed over outputs.  Fewer rows if no variance is left (repeated rows).
    """
    weight = np.array([(one.signal / one.noise) ** 2 for one in hyperparameters])
    left = np.ones((len(hyperparameters), len(z)))  # in signal variances
    factor = np.zeros((len(hyperparameters), count, len(z)))
    chosen: list[int] = []
    for step in range(min(count, len(z))):
        row = int(np.argmax(weight @ left))
        if np.max(left[:, row]) < 100 * JITTER:
            break
        chosen.append(row)
        for k, one in enumerate(hyperparameters):
            here = kernel(z[row][None], z, one)[0] / one.signal**2 - factor[k, :step, row] @ factor[k, :step]
            factor[k, step] = here / np.sqrt(max(left[k, row], JITTER))
            left[k] = np.maximum(left[k] - factor[k, step] ** 2, 0)
        left[:, row] = 0
    return np.array(chosen)


def recent_inputs(
    z: Float[np.ndarray, "N d"], hyperparameters: Sequence[Hyperparameters], count: int
) -> Int[np.ndarray, "m"]:
    """The latest rows of `z` for inducing inputs, at most `count`, in order of time.
    Rows are omitted if their variance given later rows is below the noise variance in every output.  Chosen rows have a
    noise of a tenth of the model's: without it, rounding errors would grow without bound in the Cholesky factor.
    """
    ratio = np.array([(one.signal / one.noise) ** 2 for one in hyperparameters])
    factor = np.zeros(
        (len(hyperparameters), count, count)
    )  # Cholesky factors of the chosen rows' kernels, in signal variances
    chosen: list[int] = []
    for row in range(len(z) - 1, -1, -1):
        m = len(chosen)
        here = [kernel(z[row][None], z[chosen], one)[0] / one.signal**2 for one in hyperparameters]
        along = [scipy.linalg.solve_triangular(L[:m, :m], k, lower=True) for L, k in zip(factor, here, strict=True)]
        left = np.array([1 - w @ w for w in along])
        if chosen and np.max(ratio * left) < 1:
            continue
        for L, w, rest, r in zip(factor, along, left, ratio, strict=True):
            L[m, :m], L[m, m] = w, np.sqrt(max(rest, 0) + 0.01 / r)
        chosen.append(row)
        if len(chosen) == count:
            break
    return np.array(chosen[::-1])


def evidence_bound(
    theta: Float[np.ndarray, "p"],
    u: Float[np.ndarray, "M d"],
    z: Float[np.ndarray, "N d"],
    y: Float[np.ndarray, "N"],
) -> Evaluation:
    """The bound, in nats, and its gradient with respect to `theta`; minus infinity if C is not positive definite."""
    given = hyperparameters_of(theta)
    s2, v, N = given.signal**2, given.noise**2, len(y)
    C, P = _kernels(u, z, given)
    try:
        lower, W = _whitened(C, P, given.noise)
        WW = W @ W.T
        factor = np.linalg.cholesky(np.eye(len(u)) + WW)
    except np.linalg.LinAlgError:
        return -np.inf, np.zeros_like(theta)
    B_inverse = scipy.linalg.cho_solve((factor, True), np.eye(len(u)))
    known = np.eye(len(u)) - B_inverse
    L_inverse = scipy.linalg.solve_triangular(lower, np.eye(len(u)), lower=True)
    Wy = W @ y
    b = L_inverse.T @ (B_inverse @ Wy) / given.noise
    explained, fitted = v * np.trace(WW), P.T @ b  # tr(P' C^-1 P); the mean at the data
    quadratic = (y @ y - Wy @ B_inverse @ Wy) / v
    value = -0.5 * (N * (LOG_2PI + np.log(v)) + quadratic + (N * s2 - explained) / v)
    value -= np.sum(np.log(np.diagonal(factor)))
    # d bound / dC and d bound / dP, times the kernel elementwise: factors common to all derivatives.
    of_C = 0.5 * (L_inverse.T @ (known - WW) @ L_inverse - np.outer(b, b)) * C
    of_P = (given.noise * L_inverse.T @ (known @ W) + np.outer(b, y - fitted)) / v * P
    scaled_u, scaled_z = u / given.lengthscale, z / given.lengthscale
    by_scales = lengthscale_slopes(of_C, scaled_u, scaled_u) + lengthscale_slopes(of_P, scaled_u, scaled_z)
    by_signal = 2 * np.sum(of_C) + 2 * np.sum(of_P) - N * s2 / v
    in_A = v * np.sum(B_inverse * WW) + fitted @ fitted
    by_noise = -N + (y @ y + N * s2 - explained - 2 * fitted @ y + in_A) / v
    return float(value), np.concatenate([by_scales, [by_signal, by_noise]])


def sparse_posterior(
    u: Float[np.ndarray, "M d"],
    z: Float[np.ndarray, "N d"],
    y: Float[np.ndarray, "N"],
    given: Hyperparameters,
    *,
    independent: bool = False,
) -> Posterior:
    """The posterior of one output with prior mean zero, with centers `u`.

    `independent`: the variance of each row given the values at `u` is added to its noise (FITC), so that rows far from
    `u` have little influence.  If False, all rows have the same noise.
    Source: Snelson & Ghahramani (2006), equations 9-11, for `independent`.
    """
    C, P = _kernels(u, z, given)
    lower, W = _whitened(C, P, given.noise)
    if independent:
        variance_left = np.maximum((given.signal / given.noise) ** 2 - np.sum(W**2, axis=0), 0)  # in noise variances
        precision = 1 / np.sqrt(1 + variance_left)
        W, y = W * precision, y * precision
    values, vectors = scipy.linalg.eigh(W @ W.T)
    values = np.maximum(values, 0)
    back = scipy.linalg.solve_triangular(lower, vectors, lower=True, trans="T").T  # V' L^-1
    beta = back.T @ ((vectors.T @ (W @ y)) / (given.noise * (1 + values)))
    root = np.sqrt(values / (1 + values))[:, None] * back
    return Posterior(beta, root.T @ root, root, 1 / np.sqrt(1 + values))


def _kernels(u, z, given: Hyperparameters) -> tuple[Float[np.ndarray, "M M"], Float[np.ndarray, "M N"]]:
    """C, with its jitter, and P."""
    C = kernel(u, u, given)
    C.flat[:: len(u) + 1] += JITTER * given.signal**2
    return C, kernel(u, z, given)


def _whitened(C, P, noise: float) -> tuple[Float[np.ndarray, "M M"], Float[np.ndarray, "M N"]]:
    """L with L L' = C, and W = L^-1 P / noise."""
    lower = np.linalg.cholesky(C)
    return lower, scipy.linalg.solve_triangular(lower, P, lower=True) / noise
