"""Expansion of a problem along a trajectory: affine dynamics and quadratic costs in the deviations from the trajectory.

Symbols (z = [x; u], d = n + m)
    dx_{t+1} = F_t dz_t                       F [T, n, d]
    cost of step t, less that at the trajectory: 0.5 dz'C_t dz + c_t'dz       C [T, d, d], c [T, d]
    costate  l_T = d final_cost / dx,  l_t = c_x + A'l_{t+1}: gradient of the total cost w.r.t. x_t, for fixed actions
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from forethought.core import Problem, Quadratic, alive, step_cost
from forethought.core.linalg import symmetrize
from forethought.core.small_matrices import lazily
from forethought.dynamics.linearize import linearize


class Expansion(eqx.Module):
    """The input of a backward pass."""

    F: Float[Array, "T n d"]
    cost: Quadratic  # stacked [T], in dz
    final: Quadratic  # in dx


def expand(problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"], *, second_order: bool) -> Expansion:
    """Derivatives along a trajectory; with `second_order` also the curvature of the dynamics.

    A cost that depends on the next state, c(x, u, x'), is expanded through the affine dynamics, with the gradient
    c_z + F'c_x' and the Hessian C_zz + F'C_x'z + C_zx'F + F'C_x'x'F.  Costs after the end of an episode are zero.
    The curvature is weighted by the costate of the trajectory, so the Hessians are those of the Lagrangian.
    Source: Dunn & Bertsekas (1989), "Efficient dynamic programming implementations of Newton's method", section 3.
    """
    n, task = xs.shape[1], problem.task
    zs, ts = jnp.concatenate([xs[:-1], us], axis=1), problem.times(us.shape[0])
    runs = alive(task, xs)
    F = jax.vmap(lambda x, u, t: linearize(problem.dynamics, x, u, t).F)(xs[:-1], us, ts)

    def cost(z: Float[Array, "d"], x_next: Float[Array, "n"], t, runs) -> Float[Array, ""]:
        return jnp.where(runs, step_cost(task, z[:n], z[n:], x_next, t), 0)

    def affine_cost(dz: Float[Array, "d"], z, x_next, F, t, runs) -> Float[Array, ""]:
        return cost(z + dz, x_next + jnp.sum(F * dz[None], axis=1), t, runs)

    here = jnp.zeros_like(zs), zs, xs[1:], F, ts, runs[:-1]
    hessians, gradients = jax.vmap(_hessian_and_gradient(affine_cost))(*here)
    final_cost = lambda x: jnp.where(runs[-1], task.final_cost(x), 0)  # noqa: E731
    last_hessian, last_gradient = _hessian_and_gradient(final_cost)(xs[-1])
    if second_order:

        def lagrangian(z: Float[Array, "d"], after, t, runs) -> Float[Array, ""]:
            x_next = problem.dynamics(z[:n], z[n:], t).mean
            return cost(z, x_next, t, runs) + after @ x_next

        hessians = jax.vmap(jax.hessian(lagrangian))(zs, _costates(F, gradients, last_gradient), ts, runs[:-1])
    zero = jnp.zeros((), xs.dtype)
    return Expansion(
        F,
        Quadratic(jax.vmap(symmetrize)(hessians), gradients, jnp.zeros_like(zs[:, 0])),
        Quadratic(symmetrize(last_hessian), last_gradient, zero),
    )


def _hessian_and_gradient(f: Callable[..., Float[Array, ""]]) -> Callable[..., tuple[Array, Array]]:
    """Derivatives with respect to the first argument; common parts are computed once."""

    def gradient(z, *arguments):
        g = jax.grad(f)(z, *arguments)
        return g, g

    return jax.jacfwd(gradient, has_aux=True)


def _costates(F: Float[Array, "T n d"], gradients: Float[Array, "T d"], last: Float[Array, "n"]) -> Float[Array, "T n"]:
    """`l_{t+1}` for each step t."""
    n = last.shape[0]

    def step(after, inputs):
        A, gradient = inputs
        return gradient + jnp.sum(A * after[:, None], axis=0), after

    _, after = jax.lax.scan(step, last, (F[:, :, :n], gradients[:, :n]), reverse=True)
    return after


def convexified(expansion: Expansion, wanted: Bool[Array, ""] | bool = True) -> Expansion:
    """If `wanted`, each joint state-action Hessian replaced by the nearest positive semi-definite matrix.

    In the nearest matrix, negative eigenvalues are set to 0.
    """
    d, n = expansion.cost.c.shape[1], expansion.final.c.shape[0]
    last = jnp.zeros((d, d), expansion.final.C.dtype).at[:n, :n].set(expansion.final.C)
    hessians = jnp.concatenate([expansion.cost.C, last[None]])  # one call, so that only one program is compiled
    hessians = lazily(jnp.asarray(wanted), jax.vmap(_convex), hessians)
    cost, final = expansion.cost, expansion.final
    return Expansion(
        expansion.F,
        Quadratic(hessians[:-1], cost.c, cost.const),
        Quadratic(hessians[-1, :n, :n], final.c, final.const),
    )


def _convex(C: Float[Array, "d d"]) -> Float[Array, "d d"]:
    values, vectors = jnp.linalg.eigh(C)
    return (vectors * jnp.maximum(values, 0)[None]) @ vectors.T
