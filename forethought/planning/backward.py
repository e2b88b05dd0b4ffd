"""The backward pass of iLQR with action limits: the best affine correction of a trajectory's actions.

Symbols as in `forethought.planning.expansion`; D = d + 1, N = n + 1.  At each step, from the last to the first,
    Q_t = [C_t + F_t'V_{t+1}F_t + damping,       c_t + F_t'v_{t+1}]      [d, D]: Hessian and gradient side by side
    du  = k + K dx                               low <= k <= high; K = 0 for the clamped coordinates of k
    V_t = Q_t with du substituted for u          [n, N], Hessian and gradient side by side
Source: Tassa, Mansard & Todorov (2014), sections II.B and III.B.
Differs: the damping is part of the problem (a cost on changing the actions of the trajectory), so that V_t includes it,
and the correction is the exact Levenberg-Marquardt step of the whole action sequence.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.core.linalg import symmetrize
from forethought.core.small_matrices import eliminate, matmul, pivot_on
from forethought.planning.box_qp import BoxQPSolution, solve_box_qp
from forethought.planning.expansion import Expansion


class Correction(eqx.Module):
    """The affine correction of the actions."""

    K: Float[Array, "T m n"]  # feedback
    k: Float[Array, "T m"]  # change of the actions
    slope: Float[Array, ""]  # of the cost along k, at most 0; a full step changes the predicted cost by half of it
    gradient: Float[Array, ""]  # largest projected gradient w.r.t. an action, times its scale; in units of cost
    positive: Bool[Array, ""]  # whether every Q_uu was positive definite; otherwise all other fields are invalid


def backward(
    expansion: Expansion,
    damping: Float[Array, "d"],
    scale: Float[Array, "m"],
    bounds: tuple[Float[Array, "T m"], Float[Array, "T m"]] | None,
) -> Correction:
    """The best affine correction, from the last step to the first.

    Args:
        expansion: the problem, expanded along the trajectory.
        damping: curvature added to each coordinate of z.
        scale: scale of each action; gradients are multiplied by it.
        bounds: lowest (at most 0) and highest (at least 0) change of each action; None without action limits.
    """
    n = expansion.F.shape[1]
    stages = jnp.concatenate([expansion.cost.C + jnp.diag(damping)[None], expansion.cost.c[:, :, None]], axis=2)
    last = jnp.concatenate([expansion.final.C, expansion.final.c[:, None]], axis=1)

    def step(V: Float[Array, "n N"], inputs):
        F, stage, bounds = inputs
        Q = stage + matmul(F.T, jnp.concatenate([matmul(V[:, :-1], F), V[:, -1:]], axis=1))
        q = Q[n:, -1]
        if bounds is None:
            rows, pivots = eliminate(Q, range(n, Q.shape[0]))
            k, gradient, positive = -rows[n:, -1], q, jnp.all(pivots > 0)
        else:
            best = solve_box_qp(Q[n:, n:-1], q, *bounds)
            rows, positive = _substituted(Q, n, best)
            k, gradient = best.v, _projected(q, *bounds)
        V = jnp.concatenate([symmetrize(rows[:n, :n]), rows[:n, -1:]], axis=1)
        slope = jnp.sum(k * q)
        return V, (-rows[n:, :n], k, slope, gradient, positive & (slope <= 0))

    _, (K, k, slopes, gradients, positive) = jax.lax.scan(step, last, (expansion.F, stages, bounds), reverse=True)
    return Correction(K, k, jnp.sum(slopes), jnp.max(jnp.abs(gradients) * scale[None]), jnp.all(positive))


def _substituted(Q: Float[Array, "d D"], n: int, best: BoxQPSolution) -> tuple[Float[Array, "d D"], Bool[Array, ""]]:
    """Q with free actions eliminated and clamped ones substituted, and whether all pivots are positive.

    The rows of u in the result are -[K, k].
    """
    d, D = Q.shape
    positive = jnp.array(True)
    for a in range(d - n):
        i = n + a
        held = jnp.zeros(D, Q.dtype).at[i].set(1).at[-1].set(-best.v[a])
        positive &= best.clamped[a] | (Q[i, i] > 0)
        Q = pivot_on(Q, i, jnp.where(best.clamped[a], held, Q[i] / Q[i, i]))
    return Q, positive


def _projected(q: Float[Array, "m"], low: Float[Array, "m"], high: Float[Array, "m"]) -> Float[Array, "m"]:
    """The gradient with respect to the actions; 0 if an action is at a limit and the gradient points beyond it."""
    return jnp.where(((low >= 0) & (q > 0)) | ((high <= 0) & (q < 0)), 0, q)
