"""A Gaussian through sums of squared-exponential kernels, exactly: Gaussian processes and RBF networks.

Symbols: z ~ N(mean, cov) [d]; M centres c_i [d]; outputs a, b [e], lengthscales l_a [d], D_a = diag(l_a^2), signal s_a:
    k_a(z, c) = s_a^2 exp(-0.5 (z - c)' D_a^-1 (z - c))         f_a(z) = sum_i beta_ai k_a(z, c_i)
    var(y_a | z) = s_a^2 - k_a(z, c)' reduction_a k_a(z, c)     (a Gaussian process; an RBF network has none)
    nu_i = c_i - mean        P = D_a^-1 + D_b^-1        R = I + cov P        T = R^-1 cov (symmetric)
Second moments are sums over pairs of centres, `V = sum_ij W_ij Q_ij`, `W = beta_a beta_b' - [a = b] reduction_a`, with
    Q_ij = E k_a(z, c_i) k_b(z, c_j) = s_a^2 s_b^2 |R|^-1/2 exp(p_i + q_j + alpha_i' T gamma_j),
    alpha_i = D_a^-1 nu_i,  gamma_j = D_b^-1 nu_j,  p_i = -0.5 nu_i' alpha_i + 0.5 alpha_i' T alpha_i,  q_j likewise.
With G = W * Q and w_ij = alpha_i + gamma_j their derivatives are sums over the same pairs:
    dV/dmean = R^-T sum_ij G_ij w_ij        dV/dcov = 0.5 R^-T (sum_ij G_ij w_ij w_ij') R^-1 - 0.5 V P R^-1
and those are matrix products with G.  So value and derivative come out of one pass over the pairs, and a rollout's
backward pass keeps [d] and [d, d] for each pair of outputs instead of [M, M].
Source: Deisenroth & Rasmussen (2011), equations 10-23; the derivative's form is ours.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from forethought.core import Gaussian, LinearGaussian
from forethought.core.linalg import inverse_and_log_det, symmetrise
from forethought.core.moments import matched


def kernel_moments(
    p: Gaussian,
    centres: Float[Array, "M d"],
    lengthscale: Float[Array, "e d"],
    signal: Float[Array, "e"],
    offset: Float[Array, "e"],
    beta: Float[Array, "e M"],
    reduction: Float[Array, "e M M"],
) -> LinearGaussian:
    """Exact moments of a Gaussian process at an uncertain input, observation noise not included.

    Differentiable by `p` only: the process counts as constant, that is what makes the derivative cheap.
    """
    process = jax.lax.stop_gradient((centres, lengthscale, signal, beta, reduction))
    mean, F = first_moments(p, *process[:4])
    second = _second_moments(p.mean, p.cov, *process)
    cov = second + jnp.diag(process[2] ** 2) - jnp.outer(mean, mean)
    return matched(p, mean + offset, cov, F)


def network_moments(
    p: Gaussian, centres: Float[Array, "M d"], lengthscale: Float[Array, "e d"], beta: Float[Array, "e M"]
) -> LinearGaussian:
    """Exact moments of an RBF network `sum_i beta_ai exp(-0.5 |(z - c_i) / l_a|^2)`; differentiable by all of it."""
    unit = jnp.ones(beta.shape[0], beta.dtype)
    mean, F = first_moments(p, centres, lengthscale, unit, beta)
    e = beta.shape[0]
    rows = []
    for a in range(e):
        row = [_pair(p.mean, p.cov, centres, lengthscale[a], lengthscale[b], 1.0) for b in range(e)]
        rows.append(jnp.stack([beta[a] @ Q @ beta[b] for b, Q in enumerate(row)]))
    return matched(p, mean, jnp.stack(rows) - jnp.outer(mean, mean), F)


def first_moments(
    p: Gaussian,
    centres: Float[Array, "M d"],
    lengthscale: Float[Array, "e d"],
    signal: Float[Array, "e"],
    beta: Float[Array, "e M"],
) -> tuple[Float[Array, "e"], Float[Array, "e d"]]:
    """`E f(z)` and `E df/dz`."""
    return jax.vmap(lambda scale, s, weights: _first(p.mean, p.cov, centres, scale, s, weights))(
        lengthscale, signal, beta
    )


def _first(mean, cov, centres, lengthscale, signal, beta):
    nu = (centres - mean[None]) / lengthscale[None]
    widened = jnp.eye(mean.shape[0], dtype=mean.dtype) + cov / jnp.outer(lengthscale, lengthscale)
    inverse, log_det = inverse_and_log_det(widened)
    solved = nu @ inverse  # (cov + D)^-1 (c - mean), in units of lengthscale
    weighted = beta * signal**2 * jnp.exp(-0.5 * (jnp.sum(nu * solved, 1) + log_det))
    return jnp.sum(weighted), weighted @ solved / lengthscale


def _pair(mean, cov, centres, scale_a, scale_b, gain) -> Float[Array, "M M"]:
    """`Q`, for one pair of outputs."""
    return _Pair(mean, cov, centres, scale_a, scale_b).expectations(gain)


class _Pair:
    """What one pair of outputs needs; plain arithmetic, made and used within one trace."""

    def __init__(self, mean, cov, centres, scale_a, scale_b):
        nu = centres - mean[None]
        self.P = 1 / scale_a**2 + 1 / scale_b**2  # the diagonal
        root = jnp.sqrt(self.P)
        inverse, self.log_det = inverse_and_log_det(
            jnp.eye(mean.shape[0], dtype=mean.dtype) + cov * jnp.outer(root, root)
        )
        self.R_inverse = inverse * root[None] / root[:, None]
        self.T = symmetrise(self.R_inverse @ cov)
        self.alpha, self.gamma = nu / scale_a[None] ** 2, nu / scale_b[None] ** 2
        self.left = 0.5 * jnp.sum((self.alpha @ self.T - nu) * self.alpha, 1)
        self.right = 0.5 * jnp.sum((self.gamma @ self.T - nu) * self.gamma, 1)

    def expectations(self, gain) -> Float[Array, "M M"]:
        exponent = (self.left - 0.5 * self.log_det)[:, None] + self.right[None] + (self.alpha @ self.T) @ self.gamma.T
        return gain * jnp.exp(exponent)


@jax.custom_vjp
def _second_moments(mean, cov, centres, lengthscale, signal, beta, reduction) -> Float[Array, "e e"]:
    """`E f f'` less what the data explain of the variance."""
    return _second(mean, cov, centres, lengthscale, signal, beta, reduction, derivatives=False)[0]


def _second(mean, cov, centres, lengthscale, signal, beta, reduction, *, derivatives: bool):
    e = beta.shape[0]
    rows, columns = jnp.triu_indices(e)

    def one(indices):  # one pair of outputs after the other: [M, M] stays in the cache
        a, b = indices
        W = jnp.outer(beta[a], beta[b]) - jnp.where(a == b, reduction[a], 0)
        pair = _Pair(mean, cov, centres, lengthscale[a], lengthscale[b])
        return _sum_over_pairs(pair, W * pair.expectations((signal[a] * signal[b]) ** 2), derivatives)

    value, by_mean, by_cov = jax.lax.map(one, (rows, columns))
    second = jnp.zeros((e, e), mean.dtype).at[rows, columns].set(value).at[columns, rows].set(value)
    return second, by_mean, by_cov


def _sum_over_pairs(pair: _Pair, G: Float[Array, "M M"], derivatives: bool):
    """V, and where wanted dV/dmean [d] and dV/dcov [d, d]."""
    if not derivatives:
        return jnp.sum(G), None, None
    alpha, gamma = pair.alpha, pair.gamma
    products = G @ jnp.concatenate([gamma, jnp.ones_like(gamma[:, :1])], 1)
    by_row, by_column = products[:, -1], jnp.sum(G, 0)
    value = jnp.sum(by_row)
    cross = alpha.T @ products[:, :-1]
    squares = (alpha.T * by_row[None]) @ alpha + (gamma.T * by_column[None]) @ gamma + cross + cross.T
    R_inverse = pair.R_inverse
    by_mean = R_inverse.T @ (by_row @ alpha + by_column @ gamma)
    by_cov = 0.5 * (R_inverse.T @ squares @ R_inverse - value * pair.P[:, None] * R_inverse)
    return value, by_mean, by_cov


def _forward(mean, cov, centres, lengthscale, signal, beta, reduction):
    second, by_mean, by_cov = _second(mean, cov, centres, lengthscale, signal, beta, reduction, derivatives=True)
    return second, (by_mean, by_cov, (centres, lengthscale, signal, beta, reduction))


def _backward(saved, change):
    by_mean, by_cov, process = saved
    e = change.shape[0]
    upper = jnp.stack([change[a, b] + (change[b, a] if a != b else 0) for a in range(e) for b in range(a, e)])
    nothing = jax.tree.map(jnp.zeros_like, process)
    return upper @ by_mean, jnp.einsum("p,pij->ij", upper, by_cov), *nothing


_second_moments.defvjp(_forward, _backward)
