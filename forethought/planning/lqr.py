"""The linear-quadratic regulator: finite horizon, time-varying, affine dynamics, cost with cross terms.

Problem, t = 0 .. T-1, z_t = [x_t; u_t] [d], d = n + m:
    minimize    E [ sum_t q_t(z_t) + q_T(x_T) ]      q_t(z) = 0.5 z'C_t z + c_t'z + const_t
    subject to  x_{t+1} = F_t z_t + f_t + noise,     noise ~ N(0, cov_t)
Solution:
    u_t = K_t x_t + k_t                              the policy: F = K [m, n], f = k [m]
    V_t(x) = 0.5 x'V x + v'x + const                 the cost-to-go of the optimal actions
Recursion in homogeneous coordinates [z; 1] (D = d + 1, N = n + 1), where an affine map and a quadratic are one matrix:
    Q_t = C_t + F_t' V_{t+1} F_t                     [D, D]
    V_t = Q_t with u eliminated (its Schur complement); elimination leaves -[K, k] in the rows of u
The maximum-entropy controller minimizes E[cost] - H(policy): the same gains, cov_t = inv(Q_uu), and
    log p(u | x) = V_t(x) - Q_t(x, u),    V_t(x) = -log of the integral of exp(-Q_t(x, u)) over u.
Source: Anderson & Moore, Optimal Control: Linear Quadratic Methods (1990), section 2.3; Levine & Koltun (2013),
"Guided policy search", section 4 (maximum entropy).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import LinearGaussian, Quadratic, Result
from forethought.core.gaussian import LOG_2PI
from forethought.core.linalg import symmetrize
from forethought.core.small_matrices import eliminate, matmul


class LQRSolution(eqx.Module):
    """The policy and the values computed by the recursion."""

    policy: LinearGaussian  # stacked [T], over x
    values: Quadratic  # stacked [T+1], over x
    result: Int[Array, ""]  # of core.Result


def solve_lqr(dynamics: LinearGaussian, cost: Quadratic, final: Quadratic, *, max_entropy: bool = False) -> LQRSolution:
    """The optimal controller of an affine-quadratic problem.

    Args:
        dynamics: stacked [T], over `[x; u]`.
        cost: stacked [T], over `[x; u]`; only `Q_uu` must be positive definite.
        final: over x.
        max_entropy: return `cov = inv(Q_uu)` and soft values; otherwise the policy is deterministic (`cov = 0`).
    Returns:
        policy, values and a result; if the result is `not_positive_definite` (for some `Q_uu`), the rest is invalid.
    """
    n = final.c.shape[0]
    m = cost.c.shape[-1] - n

    def step(V: Float[Array, "N N"], inputs):
        model, C = inputs
        F = homogeneous_map(model)
        Q = C + matmul(F.T, matmul(V, F))
        Q = Q.at[-1, -1].add(
            jnp.sum(V[:-1, :-1] * model.cov)
        )  # expectation over the noise; the corner holds twice the constant
        cov, D = jnp.zeros((m, m), Q.dtype), n + m + 1
        if max_entropy:  # elimination turns identity columns into inv(Q_uu)
            Q = jnp.concatenate([Q, jnp.eye(D, m, k=-n, dtype=Q.dtype)], axis=1)
        rows, pivots = eliminate(Q, range(n, n + m))
        V = symmetrize(_without(rows[:, :D], n, m))
        if max_entropy:
            cov = symmetrize(rows[n:-1, D:])
            V = V.at[-1, -1].add(jnp.sum(jnp.log(pivots)) - m * LOG_2PI)
        policy = LinearGaussian(-rows[n:-1, :n], -rows[n:-1, D - 1], cov)
        return V, (policy, _quadratic(V), jnp.all(pivots > 0))

    last = homogeneous_quadratic(final)
    stages = jax.vmap(homogeneous_quadratic)(cost)
    _, (policy, values, positive) = jax.lax.scan(step, last, (dynamics, stages), reverse=True)
    values = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), values, final)
    return LQRSolution(policy, values, _result(positive, policy))


def homogeneous_map(model: LinearGaussian) -> Float[Array, "N D"]:
    """`[F f; 0 1]`, which maps [z; 1] to [x'; 1]."""
    unit = jnp.zeros((1, model.F.shape[1] + 1), model.F.dtype).at[0, -1].set(1)
    return jnp.concatenate([jnp.concatenate([model.F, model.f[:, None]], 1), unit])


def homogeneous_quadratic(q: Quadratic) -> Float[Array, "D D"]:
    """`[C c; c' 2 const]`: half its quadratic form at [z; 1] is `q(z)`."""
    bottom = jnp.concatenate([q.c, 2 * q.const[None]])
    return jnp.concatenate([jnp.concatenate([symmetrize(q.C), q.c[:, None]], 1), bottom[None]])


def _quadratic(M: Float[Array, "N N"]) -> Quadratic:
    return Quadratic(M[:-1, :-1], M[:-1, -1], 0.5 * M[-1, -1])


def _without(M: Float[Array, "D D"], n: int, m: int) -> Float[Array, "N N"]:
    """M without rows and columns `n .. n+m-1`."""
    M = jnp.concatenate([M[:n], M[n + m :]])
    return jnp.concatenate([M[:, :n], M[:, n + m :]], 1)


def _result(positive, policy: LinearGaussian) -> Int[Array, ""]:
    finite = jnp.all(jnp.isfinite(policy.F)) & jnp.all(jnp.isfinite(policy.f))
    worst = jnp.where(jnp.all(positive), Result.not_finite, Result.not_positive_definite)
    return jnp.where(jnp.all(positive) & finite, Result.converged, worst).astype(int)
