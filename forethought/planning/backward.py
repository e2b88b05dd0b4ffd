"""The backward pass of iLQR with action limits: the best affine correction of a trajectory's actions.

Symbols as in `forethought.planning.expansion`; D = d + 1, N = n + 1.  At each step, from the last to the first,
    Q_t = [C_t + F_t'V_{t+1}F_t + damping,       c_t + F_t'v_{t+1}]      [d, D]: Hessian and gradient side by side
    du  = k + K dx                               low <= k <= high; K = 0 in the coordinates that k clamps
    V_t = Q_t with du put in place of u          [n, N], likewise
Source: Tassa, Mansard & Todorov (2014), sections II.B and III.B.
Differs: the damping belongs to the problem (a cost on moving the actions away from the trajectory), so that V_t counts
it too, and the correction is the exact Levenberg-Marquardt step of the whole action sequence.
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
    """What the backward pass proposes."""

    K: Float[Array, "T m n"]  # feedback
    k: Float[Array, "T m"]  # change of the actions
    slope: Float[Array, ""]  # of the cost along k, at most 0; half of it is expected from a full step
    gradient: Float[Array, ""]  # largest projected gradient by an action, times that action's scale; a cost
    positive: Bool[Array, ""]  # whether every Q_uu was positive definite; nothing else counts where it was not


def backward(
    expansion: Expansion,
    damping: Float[Array, "d"],
    scale: Float[Array, "m"],
    bounds: tuple[Float[Array, "T m"], Float[Array, "T m"]] | None,
) -> Correction:
    """Go from the end to the start.

    Args:
        expansion: of the problem, along the trajectory.
        damping: curvature added for each coordinate of z.
        scale: of each action, by which gradients are judged.
        bounds: least (at most 0) and greatest (at least 0) change of each action; None where there are no limits.
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
            rows, positive = _put_in_place(Q, n, best)
            k, gradient = best.v, _projected(q, *bounds)
        V = jnp.concatenate([symmetrize(rows[:n, :n]), rows[:n, -1:]], axis=1)
        slope = jnp.sum(k * q)
        return V, (-rows[n:, :n], k, slope, gradient, positive & (slope <= 0))

    _, (K, k, slopes, gradients, positive) = jax.lax.scan(step, last, (expansion.F, stages, bounds), reverse=True)
    return Correction(K, k, jnp.sum(slopes), jnp.max(jnp.abs(gradients) * scale[None]), jnp.all(positive))


def _put_in_place(Q: Float[Array, "d D"], n: int, best: BoxQPSolution) -> tuple[Float[Array, "d D"], Bool[Array, ""]]:
    """Eliminate the actions: free ones by their pivots, clamped ones by their values; whether the pivots are positive.

    What is left in the rows of u is -[K, k].
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
    """The gradient by the actions, without what pushes an action at its limit outwards."""
    return jnp.where(((low >= 0) & (q > 0)) | ((high <= 0) & (q < 0)), 0, q)
