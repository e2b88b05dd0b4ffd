"""Spatial algebra in world coordinates: motions and forces of rigid bodies as 6-vectors, inertias as 4 x 4 matrices.

Symbols
    m = [alpha; mu]          a motion: angular velocity, and velocity of the body's point at the world's origin [6]
    f = [moment; force]      a force, the moment about the world's origin [6]
    P = sum over the body's points of mass * [r; 1][r; 1]'     pseudo-inertia [4, 4], symmetric:
        [Sigma, h; h', mass]   second moment, first moment (mass * center), mass
    W = sum of mass * rdot [r; 1]' = twist(v) P                its rate while the body moves with v, upper rows [3, 4]
In world coordinates, the inertias and forces of bodies that move together can be added.
Source: Featherstone, Rigid Body Dynamics Algorithms (2008), chapter 2; pseudo-inertias: Legnani et al. (1996), "A
homogeneous matrix approach to 3D kinematics and dynamics".
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def cross(a: Float[Array, "*n 3"], b: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    """`a x b`."""
    (a0, a1, a2), (b0, b1, b2) = jnp.moveaxis(a, -1, 0), jnp.moveaxis(b, -1, 0)
    return jnp.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], axis=-1)


def skew(a: Float[Array, "*n 3"]) -> Float[Array, "*n 3 3"]:
    """The matrix of `a x`."""
    x, y, z = jnp.moveaxis(a, -1, 0)
    o = jnp.zeros_like(x)
    rows = [[o, -z, y], [z, o, -x], [-y, x, o]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def twist(m: Float[Array, "*n 6"]) -> Float[Array, "*n 3 4"]:
    """The matrix that maps [r; 1] to the velocity of the point r."""
    return jnp.concatenate([skew(m[..., :3]), m[..., 3:, None]], axis=-1)


def move_motion(v: Float[Array, "*n 6"], m: Float[Array, "*n 6"]) -> Float[Array, "*n 6"]:
    """`v x m`: the rate of change of a motion fixed in a body that moves with `v` (Featherstone, equation 2.31)."""
    turn, shift = v[..., :3], v[..., 3:]
    return jnp.concatenate([cross(turn, m[..., :3]), cross(turn, m[..., 3:]) + cross(shift, m[..., :3])], axis=-1)


def move_force(v: Float[Array, "*n 6"], f: Float[Array, "*n 6"]) -> Float[Array, "*n 6"]:
    """`v x* f`: the rate of change of a force fixed in a body that moves with `v` (equation 2.32)."""
    turn, shift = v[..., :3], v[..., 3:]
    return jnp.concatenate([cross(turn, f[..., :3]) + cross(shift, f[..., 3:]), cross(turn, f[..., 3:])], axis=-1)


def inertia_times(P: Float[Array, "*n 4 4"], m: Float[Array, "*n 6"]) -> Float[Array, "*n 6"]:
    """`I m`, the momentum of bodies with pseudo-inertia P that move with m."""
    alpha, mu, h = m[..., :3], m[..., 3:], P[..., :3, 3]
    moment = cross(h, mu) + _turned(P[..., :3, :3], alpha)
    return jnp.concatenate([moment, P[..., 3, 3, None] * mu + cross(alpha, h)], axis=-1)


def coriolis_times(W: Float[Array, "*n 3 4"], m: Float[Array, "*n 6"]) -> Float[Array, "*n 6"]:
    """`B m = 0.5 (v x* (I m) - I (v x m) + m x* (I v))`: a force of mass * alpha x rdot on each point.

    Source: Echeandia & Wensing (2021), "Numerical methods to compute the Coriolis matrix and Christoffel symbols".
    """
    alpha = m[..., :3]
    return jnp.concatenate([_turned(W[..., :3], alpha), cross(alpha, W[..., 3])], axis=-1)


def transposed_coriolis_times(W: Float[Array, "*n 3 4"], m: Float[Array, "*n 6"]) -> Float[Array, "*n 3"]:
    """The upper half of `B' m`; the lower half is zero."""
    return _turned(jnp.swapaxes(W[..., :3], -1, -2), m[..., :3]) + cross(W[..., 3], m[..., 3:])


def products(a: Float[Array, "L k"], b: Float[Array, "L k"]) -> Float[Array, "L L"]:
    """`a_i'b_j`."""
    return jnp.sum(a[:, None] * b[None], axis=2)


def each_times(A: Float[Array, "*n i k"], x: Float[Array, "*n k"]) -> Float[Array, "*n i"]:
    """`A_i x_i`."""
    return jnp.sum(A * x[..., None, :], axis=-1)


def _turned(A: Float[Array, "*n 3 3"], alpha: Float[Array, "*n 3"]) -> Float[Array, "*n 3"]:
    """`tr(A) alpha - A alpha`: the sum of mass * r x (alpha x q) where A is the sum of mass * q r'."""
    trace = A[..., 0, 0] + A[..., 1, 1] + A[..., 2, 2]
    return trace[..., None] * alpha - each_times(A, alpha)
