"""The linear-quadratic regulator with an infinite horizon: the discrete algebraic Riccati equation, by doubling.

Symbols as in `forethought.planning.lqr`, with dynamics and cost that do not change:
    V = C_xx + A'VA - (A'VB + C_xu) inv(C_uu + B'VB) (B'VA + C_ux),    F = [A, B]
    u = K x,  K = -inv(C_uu + B'VB) (B'VA + C_ux);    closed loop x' = (A + B K) x
Each step of the doubling algorithm solves the problem of twice the horizon: it converges quadratically.
A solution is accepted only if it satisfies the equation and its closed loop is stable (spectral radius below 1).  Such
a solution exists if (A, B) is stabilizable and the cost detects every mode that does not decay.
Source: Chu, Fan, Lin & Wang (2004), "Structure-preserving algorithms for periodic discrete-time algebraic Riccati
equations", International Journal of Control 77, section 3.1 (SDA).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.core import LinearGaussian, Quadratic, Result
from forethought.core.linalg import cholesky, solve_psd, symmetrize
from forethought.planning.lqr import LQRSolution

STEPS = 60  # horizons up to 2^60
SQUARINGS = 30  # of the closed loop, for its spectral radius: its power 2^30


def solve_infinite_lqr(dynamics: LinearGaussian, cost: Quadratic, *, max_entropy: bool = False) -> LQRSolution:
    """The stationary controller of `x' = F z + f + noise` with stage cost `q(z)`, minimizing the average cost.

    Args:
        dynamics: over `[x; u]`; (A, B) stabilizable.
        cost: over `[x; u]`; `C_uu` positive definite, and a positive cost of every mode that does not decay.
        max_entropy: return `cov = inv(Q_uu)`; otherwise the policy is deterministic.
    Returns:
        policy, unstacked; values, the relative cost-to-go, whose `const` is the average cost of a step (without the
        entropy); a result: `not_positive_definite` for a wrong cost; `not_stabilizing` if the closed loop is not
        stable, or no solution exists; `stalled` if the equation is not satisfied to working precision;
        `not_finite` if the problem itself is not finite.
    """
    n = dynamics.F.shape[0]
    F, C = dynamics.F, symmetrize(cost.C)
    V, result = solve_dare(F[:, :n], F[:, n:], C)
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
    result = jnp.where((result == Result.converged) & ~jnp.all(jnp.isfinite(k)), Result.not_finite, result)
    return LQRSolution(LinearGaussian(K, k, cov), Quadratic(V, v, average), result)


def solve_dare(
    A: Float[Array, "n n"], B: Float[Array, "n m"], C: Float[Array, "d d"]
) -> tuple[Float[Array, "n n"], Int[Array, ""]]:
    """The stabilizing solution V of the Riccati equation with weights C over `[x; u]`, and a `Result`."""
    n = A.shape[0]
    R, S = C[n:, n:], C[:n, n:]
    gains = solve_psd(R, jnp.concatenate([S.T, B.T], axis=1))  # inv(R) [S', B']
    V, settled = _doubled(A - B @ gains[:, :n], B @ gains[:, n:], C[:n, :n] - S @ gains[:, :n])
    F = jnp.concatenate([A, B], axis=1)
    Q = C + F.T @ V @ F
    K = -solve_psd(Q[n:, n:], Q[n:, :n])
    residual = jnp.max(jnp.abs(Q[:n, :n] + Q[:n, n:] @ K - V))
    accurate = residual <= jnp.finfo(A.dtype).eps ** 0.5 * jnp.max(jnp.abs(Q))
    stable = settled & _is_stable(A + B @ K)
    given = jnp.all(jnp.isfinite(F)) & jnp.all(jnp.isfinite(C))
    result = jnp.where(accurate, Result.converged, Result.stalled)
    result = jnp.where(stable, result, Result.not_stabilizing)
    result = jnp.where(jnp.all(jnp.isfinite(cholesky(R))), result, Result.not_positive_definite)
    return V, jnp.where(given, result, Result.not_finite).astype(int)


def _doubled(
    A: Float[Array, "n n"], G: Float[Array, "n n"], H: Float[Array, "n n"]
) -> tuple[Float[Array, "n n"], Bool[Array, ""]]:
    """The limit V of the cost-to-go for growing horizons, and whether it exists."""
    tolerance = 10 * jnp.finfo(A.dtype).eps

    def unfinished(carry) -> Bool[Array, ""]:
        _, _, H, change, step = carry
        return (change > tolerance * jnp.max(jnp.abs(H))) & (step < STEPS)

    def double(carry):
        A, G, H, _, step = carry
        W = jnp.eye(A.shape[0], dtype=A.dtype) + G @ H
        WA, WG = jnp.split(jnp.linalg.solve(W, jnp.concatenate([A, G], axis=1)), 2, axis=1)
        grown = symmetrize(H + A.T @ H @ WA)
        return A @ WA, symmetrize(G + A @ WG @ A.T), grown, jnp.max(jnp.abs(grown - H)), step + 1

    start = (A, G, symmetrize(H), jnp.array(jnp.inf, A.dtype), jnp.array(0))
    _, _, V, _, step = jax.lax.while_loop(unfinished, double, start)
    return V, (step < STEPS) & jnp.all(jnp.isfinite(V))


def _is_stable(M: Float[Array, "n n"]) -> Bool[Array, ""]:
    """Whether the spectral radius of M is below 1, from the norm of a high power: log(radius) = lim log|M^p| / p.

    Repeated squaring replaces eigenvalues, which JAX computes on the CPU only.
    """

    def square(_, carry):
        M, log_norm = carry  # the normalized power M and the log of its norm: the power is M exp(log_norm)
        M = M @ M
        norm = jnp.max(jnp.abs(M))
        safe = jnp.where(norm > 0, norm, 1)
        return M / safe, 2 * log_norm + jnp.where(norm > 0, jnp.log(safe), -jnp.inf)

    _, log_norm = jax.lax.fori_loop(0, SQUARINGS, square, (M, jnp.zeros((), M.dtype)))
    return log_norm / 2.0**SQUARINGS < -10 * M.shape[0] * jnp.finfo(M.dtype).eps
