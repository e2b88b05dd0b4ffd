"""The linear-quadratic regulator without a horizon: the discrete algebraic Riccati equation, by doubling.

Symbols as in `forethought.planning.lqr`, with dynamics and cost that do not change:
    V = C_xx + A'VA - (A'VB + C_xu) inv(C_uu + B'VB) (B'VA + C_ux),    F = [A, B]
Each step of the doubling algorithm solves the problem of twice the horizon: it converges quadratically.
Source: Chu, Fan, Lin & Wang (2004), "Structure-preserving algorithms for periodic discrete-time algebraic Riccati
equations", International Journal of Control 77, section 3.1 (SDA).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.core import LinearGaussian, Quadratic, Result
from forethought.core.linalg import cholesky, solve_psd, symmetrize
from forethought.planning.lqr import LQRSolution

STEPS = 60  # horizons up to 2^60


def solve_infinite_lqr(dynamics: LinearGaussian, cost: Quadratic, *, max_entropy: bool = False) -> LQRSolution:
    """The stationary controller of `x' = F z + f + noise` with stage cost `q(z)`, minimizing the average cost.

    Args:
        dynamics: over `[x; u]`; (A, B) stabilizable.
        cost: over `[x; u]`; `C_uu` positive definite.
        max_entropy: return `cov = inv(Q_uu)`; otherwise the policy is certain.
    Returns:
        policy, unstacked; values, the relative cost to go, whose `const` is the average cost of a step (without the
        entropy); a result: `not_positive_definite` for a wrong cost, `not_finite` where nothing stabilizes.
    """
    n = dynamics.F.shape[0]
    F, C = dynamics.F, symmetrize(cost.C)
    V, converged = solve_dare(F[:, :n], F[:, n:], C)
    Q = C + F.T @ V @ F
    K = -solve_psd(Q[n:, n:], Q[n:, :n])
    # The affine part: v = q_x + K'q_u with q = c + F'(V f + v), linear in v.
    closed = F[:, :n] + F[:, n:] @ K
    fixed = cost.c + F.T @ (V @ dynamics.f)
    v = jnp.linalg.solve(jnp.eye(n, dtype=V.dtype) - closed.T, fixed[:n] + K.T @ fixed[n:])
    q = fixed + F.T @ v
    k = -solve_psd(Q[n:, n:], q[n:])
    drift = 0.5 * dynamics.f @ V @ dynamics.f + v @ dynamics.f + 0.5 * jnp.sum(V * dynamics.cov)
    average = cost.const + drift + 0.5 * q[n:] @ k
    eye = jnp.eye(k.shape[0], dtype=V.dtype)
    cov = symmetrize(solve_psd(Q[n:, n:], eye)) if max_entropy else 0 * eye
    positive = jnp.all(jnp.isfinite(cholesky(C[n:, n:])))
    fine = converged & jnp.all(jnp.isfinite(k)) & jnp.all(jnp.isfinite(K))
    failure = jnp.where(positive, Result.not_finite, Result.not_positive_definite)
    result = jnp.where(positive & fine, Result.converged, failure).astype(int)
    return LQRSolution(LinearGaussian(K, k, cov), Quadratic(V, v, average), result)


def solve_dare(
    A: Float[Array, "n n"], B: Float[Array, "n m"], C: Float[Array, "d d"]
) -> tuple[Float[Array, "n n"], Bool[Array, ""]]:
    """The stabilizing solution V of the Riccati equation with weights C over `[x; u]`, and whether it was found."""
    n = A.shape[0]
    R, S = C[n:, n:], C[:n, n:]
    gains = solve_psd(R, jnp.concatenate([S.T, B.T], axis=1))  # inv(R) [S', B']
    A, G, H = A - B @ gains[:, :n], B @ gains[:, n:], C[:n, :n] - S @ gains[:, :n]
    tolerance = 10 * jnp.finfo(A.dtype).eps

    def unfinished(carry) -> Bool[Array, ""]:
        _, _, H, change, step = carry
        return (change > tolerance * jnp.max(jnp.abs(H))) & (step < STEPS)

    def double(carry):
        A, G, H, _, step = carry
        W = jnp.eye(n, dtype=A.dtype) + G @ H
        WA, WG = jnp.split(jnp.linalg.solve(W, jnp.concatenate([A, G], axis=1)), [n], axis=1)
        grown = symmetrize(H + A.T @ H @ WA)
        return A @ WA, symmetrize(G + A @ WG @ A.T), grown, jnp.max(jnp.abs(grown - H)), step + 1

    start = (A, G, symmetrize(H), jnp.array(jnp.inf, A.dtype), jnp.array(0))
    _, _, V, _, step = jax.lax.while_loop(unfinished, double, start)
    return V, (step < STEPS) & jnp.all(jnp.isfinite(V))
