"""Exact moments of sums of squared-exponential kernels at a Gaussian input: Gaussian processes and RBF networks.

Symbols: z ~ N(mean, cov) [d]; M centers c_i [d]; outputs a, b [e], lengthscales l_a [d], D_a = diag(l_a^2), signal s_a:
    k_a(z, c) = s_a^2 exp(-0.5 (z - c)' D_a^-1 (z - c))         f_a(z) = sum_i beta_ai k_a(z, c_i)
    var(y_a | z) = s_a^2 - k_a(z, c)' reduction_a k_a(z, c)     (a Gaussian process; an RBF network has none)
    nu_i = c_i - mean        P = D_a^-1 + D_b^-1        R = I + cov P        T = R^-1 cov (symmetric)
First moments: with A = (cov + D_a)^-1, r_i = A nu_i and q_i = beta_i s^2 |I + cov D^-1|^-1/2 exp(-0.5 nu_i' r_i)
    E f = sum_i q_i        F = E df/dz = sum_i q_i r_i        H = E d2f/dz2 = sum_i q_i r_i r_i' - (E f) A
and likewise for the third derivative.  Since dE g(z)/dmean = E dg/dz and dE g(z)/dcov = 0.5 E d2g/dz2, the higher ones
give the gradients of the lower ones.
Second moments are sums over pairs of centers, `V = sum_ij W_ij Q_ij`, `W = beta_a beta_b' - [a = b] reduction_a`, with
    Q_ij = E k_a(z, c_i) k_b(z, c_j) = s_a^2 s_b^2 |R|^-1/2 exp(p_i + q_j + alpha_i' T gamma_j),
    alpha_i = D_a^-1 nu_i,  gamma_j = D_b^-1 nu_j,  p_i = -0.5 nu_i' alpha_i + 0.5 alpha_i' T alpha_i,  q_j likewise.
With G = W * Q and w_ij = alpha_i + gamma_j their derivatives are sums over the same pairs:
    dV/dmean = R^-T sum_ij G_ij w_ij        dV/dcov = 0.5 R^-T (sum_ij G_ij w_ij w_ij') R^-1 - 0.5 V P R^-1
which are matrix products with G.  One pass over the pairs of centers therefore computes both value and derivative.  For
each pair of outputs, the backward pass of a rollout stores arrays of shape [d] and [d, d] instead of [M, M].
Source: Deisenroth & Rasmussen (2011), equations 10-23; the form of the derivatives is our own.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from forethought.core import Gaussian, LinearGaussian
from forethought.core.exponential import exp
from forethought.core.linalg import inverse_and_log_det, symmetrize
from forethought.core.moments import matched


def kernel_moments(
    p: Gaussian,
    centers: Float[Array, "M d"],
    lengthscale: Float[Array, "e d"],
    signal: Float[Array, "e"],
    offset: Float[Array, "e"],
    beta: Float[Array, "e M"],
    reduction: Float[Array, "e M M"],
) -> LinearGaussian:
    """Exact moments of a Gaussian process at a Gaussian input, without observation noise.

    Differentiable with respect to `p` only; with a constant process, the derivative needs little computation.
    """
    process = jax.lax.stop_gradient((centers, lengthscale, signal, beta, reduction))
    mean, F = _first_moments(p.mean, p.cov, *process[:4])
    second = _second_moments(p.mean, p.cov, *process)
    cov = second + jnp.diag(process[2] ** 2) - jnp.outer(mean, mean)
    return matched(p, mean + offset, cov, F)


def network_moments(
    p: Gaussian, centers: Float[Array, "M d"], lengthscale: Float[Array, "e d"], beta: Float[Array, "e M"]
) -> LinearGaussian:
    """Exact moments of an RBF network `sum_i beta_ai exp(-0.5 |(z - c_i) / l_a|^2)`; differentiable."""
    mean, F, second = _network(p.mean, p.cov, centers, lengthscale, beta)
    return matched(p, mean, second - jnp.outer(mean, mean), F)


def _first(mean, cov, centers, lengthscale, signal, beta):
    """`E f` and `E df/dz` of one output, and intermediate values for the derivatives: q [M], r [M, d], A [d, d]."""
    inverse, log_det = inverse_and_log_det(
        jnp.eye(mean.shape[0], dtype=mean.dtype) + cov / jnp.outer(lengthscale, lengthscale)
    )
    A = inverse / jnp.outer(lengthscale, lengthscale)
    nu = centers - mean[None]
    r = nu @ A
    q = beta * signal**2 * jnp.exp(-0.5 * (jnp.sum(nu * r, 1) + log_det))
    return jnp.sum(q), q @ r, q, r, A


@jax.custom_vjp
def _first_moments(mean, cov, centers, lengthscale, signal, beta) -> tuple[Float[Array, "e"], Float[Array, "e d"]]:
    """`E f` and `E df/dz`; differentiable with respect to mean and cov."""
    one = jax.vmap(_first, (None, None, None, 0, 0, 0))
    return one(mean, cov, centers, lengthscale, signal, beta)[:2]


def _first_forward(mean, cov, centers, lengthscale, signal, beta):
    def one(scale, s, weights):
        value, F, q, r, A = _first(mean, cov, centers, scale, s, weights)
        H = (r.T * q[None]) @ r - value * A
        third = jnp.einsum("m,mi,mj,mk->ijk", q, r, r, r) - _spread(F, A)
        return value, F, H, third

    value, F, H, third = jax.vmap(one)(lengthscale, signal, beta)
    return (value, F), (F, H, third)


def _spread(F: Float[Array, "d"], A: Float[Array, "d d"]) -> Float[Array, "d d d"]:
    """`F_i A_jk + F_j A_ik + F_k A_ij`."""
    return F[:, None, None] * A[None] + F[None, :, None] * A[:, None] + F[None, None] * A[:, :, None]


def _first_backward(saved, change):
    (F, H, third), (by_value, by_F) = saved, change
    by_mean = by_value @ F + jnp.einsum("ei,eij->j", by_F, H)
    by_cov = jnp.einsum("e,eij->ij", by_value, H) + jnp.einsum("ek,ekij->ij", by_F, third)
    return by_mean, 0.5 * by_cov, None, None, None, None


_first_moments.defvjp(_first_forward, _first_backward)


class _Pair:
    """Intermediate values for one pair of outputs; used within one trace."""

    def __init__(self, mean, cov, centers, scale_a, scale_b):
        nu = centers - mean[None]
        self.P = 1 / scale_a**2 + 1 / scale_b**2  # the diagonal
        root = jnp.sqrt(self.P)
        inverse, self.log_det = inverse_and_log_det(
            jnp.eye(mean.shape[0], dtype=mean.dtype) + cov * jnp.outer(root, root)
        )
        self.R_inverse = inverse * root[None] / root[:, None]
        self.T = symmetrize(self.R_inverse @ cov)
        self.alpha, self.gamma = nu / scale_a[None] ** 2, nu / scale_b[None] ** 2
        self.left = 0.5 * jnp.sum((self.alpha @ self.T - nu) * self.alpha, 1)
        self.right = 0.5 * jnp.sum((self.gamma @ self.T - nu) * self.gamma, 1)

    def expectations(self, gain) -> Float[Array, "M M"]:
        """`Q`, with `gain` instead of the signals."""
        exponent = (self.left - 0.5 * self.log_det)[:, None] + self.right[None] + (self.alpha @ self.T) @ self.gamma.T
        return gain * exp(exponent)


@jax.custom_vjp
def _second_moments(mean, cov, centers, lengthscale, signal, beta, reduction) -> Float[Array, "e e"]:
    """`E f f'` minus the variance explained by the data."""
    value = _second(mean, cov, centers, lengthscale, signal, beta, reduction, derivatives=False)[0]
    return value[_pairs(beta.shape[0])]


def _second(mean, cov, centers, lengthscale, signal, beta, reduction, *, derivatives: bool):
    rows, columns = np.triu_indices(beta.shape[0])

    def one(indices):  # pairs of outputs one after the other, so that [M, M] stays in the cache
        a, b = indices
        W = jnp.outer(beta[a], beta[b]) - jnp.where(a == b, reduction[a], 0)
        pair = _Pair(mean, cov, centers, lengthscale[a], lengthscale[b])
        return _sum_over_pairs(pair, W * pair.expectations((signal[a] * signal[b]) ** 2), derivatives)

    return jax.lax.map(one, (jnp.asarray(rows), jnp.asarray(columns)))


def _pairs(e: int) -> Int[np.ndarray, "e e"]:
    """For each entry of the matrix, the index of its pair of outputs, in the order of `_second`."""
    rows, columns = np.triu_indices(e)
    places = np.zeros((e, e), int)
    places[rows, columns] = places[columns, rows] = np.arange(len(rows))
    return places


def _sum_over_pairs(pair: _Pair, G: Float[Array, "M M"], derivatives: bool):
    """V, and if requested dV/dmean [d] and dV/dcov [d, d].

    Sums over all of G are products with ones: with reductions, XLA would not vectorize the exponentials.
    """
    if not derivatives:
        return jnp.sum(G @ jnp.ones_like(pair.left)), None, None
    alpha, gamma = pair.alpha, pair.gamma
    products = G @ jnp.concatenate([gamma, jnp.ones_like(gamma[:, :1])], 1)
    by_row, by_column = products[:, -1], jnp.ones_like(alpha[:, 0]) @ G
    value = jnp.sum(by_row)
    cross = alpha.T @ products[:, :-1]
    squares = (alpha.T * by_row[None]) @ alpha + (gamma.T * by_column[None]) @ gamma + cross + cross.T
    R_inverse = pair.R_inverse
    by_mean = R_inverse.T @ (by_row @ alpha + by_column @ gamma)
    by_cov = 0.5 * (R_inverse.T @ squares @ R_inverse - value * pair.P[:, None] * R_inverse)
    return value, by_mean, by_cov


def _forward(mean, cov, centers, lengthscale, signal, beta, reduction):
    value, by_mean, by_cov = _second(mean, cov, centers, lengthscale, signal, beta, reduction, derivatives=True)
    return value[_pairs(beta.shape[0])], (by_mean, by_cov)


def _backward(saved, change):
    by_mean, by_cov = saved
    e = change.shape[0]
    pairs = jnp.asarray(np.eye(len(by_mean))[_pairs(e).ravel()], change.dtype)  # which entries belong to a pair
    upper = change.reshape(-1) @ pairs
    return upper @ by_mean, jnp.tensordot(upper, by_cov, 1), None, None, None, None, None


_second_moments.defvjp(_forward, _backward)


@jax.custom_vjp
def _network(
    mean, cov, centers, lengthscale, beta
) -> tuple[Float[Array, "e"], Float[Array, "e d"], Float[Array, "e e"]]:
    """`E f`, `E df/dz` and `E f f'` of an RBF network."""
    return _network_forward(mean, cov, centers, lengthscale, beta)[0]


def _network_forward(mean, cov, centers, lengthscale, beta):
    one = jax.vmap(lambda scale: _first(mean, cov, centers, scale, 1.0, jnp.ones_like(beta[0]))[2:])
    kernels, r, A = one(lengthscale)
    rows, columns = np.triu_indices(beta.shape[0])
    pair = jax.vmap(lambda *given: _network_pair(mean, cov, centers, *given))
    second, slopes = pair(lengthscale[rows], lengthscale[columns], beta[rows], beta[columns])
    q = beta * kernels
    value, F = jnp.sum(q, 1), jnp.einsum("em,emd->ed", q, r)
    return (value, F, second[_pairs(beta.shape[0])]), (lengthscale, beta, kernels, r, A, slopes)


def _network_pair(mean, cov, centers, scale_a, scale_b, beta_a, beta_b):
    """`E f_a f_b` and its derivatives: mean, cov, centers, and beta and 1 / lengthscale^2 of both outputs.

    With `Lambda_a = D_a^-1`:  d log Q_ij / dnu_i = Lambda_a (T w_ij - nu_i),
    d log Q_ij / d Lambda_a,kk = -0.5 ((nu_i - T w_ij)_k^2 + T_kk), and likewise for the other side.
    """
    pair, nu = _Pair(mean, cov, centers, scale_a, scale_b), centers - mean[None]
    Q, T = pair.expectations(1.0), pair.T
    from_b = Q @ (beta_b[:, None] * jnp.concatenate([pair.gamma, jnp.ones_like(nu[:, :1])], 1))
    from_a = Q.T @ (beta_a[:, None] * jnp.concatenate([pair.alpha, jnp.ones_like(nu[:, :1])], 1))
    value = beta_a @ from_b[:, -1]
    sides, squares = [], jnp.zeros_like(cov)
    for scale, beta, own, others in ((scale_a, beta_a, pair.alpha, from_b), (scale_b, beta_b, pair.gamma, from_a)):
        total = beta * others[:, -1]  # sum of G over the other output's centers
        ws = own * total[:, None] + beta[:, None] * others[:, :-1]  # sum of G w
        sides.append((total, ws, ws @ T, scale, others[:, -1]))
        squares = squares + own.T @ ws
    by_mean = pair.R_inverse.T @ jnp.sum(sides[0][1], 0)
    by_cov = 0.5 * (pair.R_inverse.T @ squares @ pair.R_inverse - value * pair.P[:, None] * pair.R_inverse)
    by_centers = sum((wT - total[:, None] * nu) / scale[None] ** 2 for total, _, wT, scale, _ in sides)
    shared = jnp.diagonal(T @ squares @ T) + value * jnp.diagonal(T)
    by_precision = [-0.5 * (total @ nu**2 - 2 * jnp.sum(nu * wT, 0) + shared) for total, _, wT, _, _ in sides]
    by_beta = [one[-1] for one in sides]
    return value, (by_mean, by_cov, by_centers, jnp.stack(by_beta), jnp.stack(by_precision))


def _network_backward(saved, change):
    (lengthscale, beta, kernels, r, A, slopes), (by_value, by_F, by_second) = saved, change

    def one(scale, weights, k, r, A, by_value, by_F):
        g, q, v = by_value + r @ by_F, weights * k, A @ by_F
        qg, F = q * g, q @ r
        total = jnp.sum(qg)
        turned = jnp.outer(F, v)
        by_cov = 0.5 * ((r.T * qg[None]) @ r - total * A - turned - turned.T)
        by_centers = q[:, None] * v[None] - qg[:, None] * r
        return by_cov, by_centers, 2 * scale * jnp.diagonal(by_cov) + total / scale, k * g

    by_cov, by_centers, by_scale, by_beta = jax.vmap(one)(lengthscale, beta, kernels, r, A, by_value, by_F)
    by_cov, by_centers = jnp.sum(by_cov, 0), jnp.sum(by_centers, 0)
    by_mean = -jnp.sum(by_centers, 0)
    e = beta.shape[0]
    rows, columns = np.triu_indices(e)
    upper = by_second.reshape(-1) @ jnp.asarray(np.eye(len(rows))[_pairs(e).ravel()], by_second.dtype)
    sides = jnp.asarray(np.stack([np.eye(e)[rows], np.eye(e)[columns]], 1), by_second.dtype) * upper[:, None, None]
    mean_2, cov_2, centers_2, beta_2, precision_2 = slopes
    by_precision = jnp.einsum("pse,psd->ed", sides, precision_2)
    return (
        by_mean + upper @ mean_2,
        by_cov + jnp.tensordot(upper, cov_2, 1),
        by_centers + jnp.tensordot(upper, centers_2, 1),
        by_scale - 2 * by_precision / lengthscale**3,
        by_beta + jnp.einsum("pse,psm->em", sides, beta_2),
    )


_network.defvjp(_network_forward, _network_backward)
