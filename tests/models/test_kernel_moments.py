"""A Gaussian through kernels: sampling, quadrature, limits, and derivatives by finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Gaussian, push_forward
from forethought.models.gp.conditioning import condition
from forethought.models.kernel_moments import network_moments

D, E, N = 3, 2, 12


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def a_process(n=N, d=D, e=E, seed=0):
    """A process that saw `n` points of a smooth function."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    y = np.sin(z @ rng.normal(size=(d, e))) + 0.3
    scales = np.exp(0.2 * rng.normal(size=(e, d))) * 1.3
    return condition(z, y, lengthscale=scales, signal=np.full(e, 0.9), noise=np.full(e, 0.1), offset=np.full(e, 0.3))


def an_input(d=D, seed=3, scale=0.5):
    rng = np.random.default_rng(seed)
    root = scale * rng.normal(size=(d, d)) / np.sqrt(d)
    return Gaussian(jnp.asarray(0.5 * rng.normal(size=d)), jnp.asarray(root @ root.T))


@jax.jit
def latent(gp, z):
    """Mean and variance of the functions at `z`, without noise."""
    y = gp(z)
    return y.mean, y.std**2 - gp.noise**2


@eqx.filter_jit
def moments(gp, p, noise=True):
    return gp.moments(p, noise=noise)


def test_moments_equal_quadrature():
    """Gauss-Hermite quadrature of prediction and variance: no sampling error to hide in."""
    gp, p = a_process(), an_input()
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    grid = np.stack(np.meshgrid(*[nodes] * D, indexing="ij"), -1).reshape(-1, D)
    weight = np.prod(np.stack(np.meshgrid(*[weights / weights.sum()] * D, indexing="ij"), -1).reshape(-1, D), 1)
    zs = np.asarray(p.mean) + grid @ np.linalg.cholesky(p.cov).T
    means, variances = map(np.asarray, jax.jit(jax.vmap(lambda z: latent(gp, z)))(jnp.asarray(zs)))
    mean = weight @ means
    cov = (weight[:, None] * (means - mean)).T @ (means - mean) + np.diag(weight @ variances)
    cross = (weight[:, None] * (zs - np.asarray(p.mean))).T @ (means - mean)
    rule = moments(gp, p, noise=False)
    y = push_forward(p, rule)
    np.testing.assert_allclose(y.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(y.cov, cov, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(p.cov @ rule.F.T, cross, rtol=1e-7, atol=1e-10)
    with_noise = push_forward(p, moments(gp, p))
    np.testing.assert_allclose(with_noise.cov - y.cov, np.diag(gp.noise**2), atol=1e-12)


def test_a_certain_input_gives_the_prediction_and_its_slope():
    gp = a_process()
    p = Gaussian.point(an_input().mean)
    rule = moments(gp, p, noise=False)
    mean, variance = latent(gp, p.mean)
    np.testing.assert_allclose(push_forward(p, rule).mean, mean, rtol=1e-10)
    np.testing.assert_allclose(rule.cov, np.diag(variance), atol=1e-10)
    np.testing.assert_allclose(rule.F, jax.jit(jax.jacfwd(lambda z: gp(z).mean))(p.mean), rtol=1e-8)


def test_padding_changes_nothing():
    gp, p = a_process(), an_input()
    z, y = np.asarray(gp.z), np.asarray(jax.jit(jax.vmap(lambda c: latent(gp, c)[0]))(gp.z))
    given = {name: np.asarray(getattr(gp, name)) for name in ("lengthscale", "signal", "noise", "offset")}
    plain = condition(z, y, **given)
    padded = condition(np.pad(z, [(0, 7), (0, 0)]), np.pad(y, [(0, 7), (0, 0)]), N, **given)
    for a, b in zip(jax.tree.leaves(moments(plain, p)), jax.tree.leaves(moments(padded, p)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


def test_derivatives_equal_finite_differences():
    gp, p = a_process(e=3), an_input()
    weights = jnp.asarray(np.random.default_rng(9).normal(size=(3, 3)))

    def total(mean, cov):
        rule = gp.moments(Gaussian(mean, cov))
        y = push_forward(Gaussian(mean, cov), rule)
        return jnp.sum(weights * y.cov) + jnp.sum(jnp.sin(y.mean)) + jnp.sum(jnp.cos(3 * rule.F))

    by_mean, by_cov = jax.jit(jax.grad(total, (0, 1)))(p.mean, p.cov)
    step, total = 1e-6, jax.jit(total)
    for i in range(D):
        e_i = step * jnp.eye(D)[i]
        numeric = (total(p.mean + e_i, p.cov) - total(p.mean - e_i, p.cov)) / (2 * step)
        np.testing.assert_allclose(by_mean[i], numeric, rtol=1e-6, atol=1e-8)
        for j in range(i, D):
            e_ij = step * (jnp.zeros((D, D)).at[i, j].set(1).at[j, i].set(1))
            numeric = (total(p.mean, p.cov + e_ij) - total(p.mean, p.cov - e_ij)) / (2 * step)
            analytic = by_cov[i, j] + (by_cov[j, i] if i != j else 0)
            np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-7)


def test_a_network_equals_a_process_without_variance():
    rng = np.random.default_rng(5)
    centers, beta = jnp.asarray(rng.normal(size=(6, D))), jnp.asarray(rng.normal(size=(E, 6)))
    lengthscale = jnp.asarray(np.exp(0.2 * rng.normal(size=(E, D))))
    p = an_input()
    y = push_forward(p, jax.jit(network_moments)(p, centers, lengthscale, beta))
    zs = np.asarray(jr.multivariate_normal(jr.key(0), p.mean, p.cov, (200_000,)))
    apart = (zs[:, None, None] - np.asarray(centers)) / np.asarray(lengthscale)[:, None]
    values = np.sum(np.asarray(beta) * np.exp(-0.5 * np.sum(apart**2, -1)), -1)
    np.testing.assert_allclose(y.mean, values.mean(0), atol=0.01)
    np.testing.assert_allclose(y.cov, np.cov(values.T), atol=0.01)


@pytest.mark.parametrize("e", [1, 3])
def test_derivatives_of_a_network_equal_finite_differences(e):
    """By all that it depends on, along random directions."""
    rng = np.random.default_rng(e)
    p = an_input()
    given = [p.mean, p.cov, *(rng.normal(size=shape) for shape in ((6, D), (e, D), (e, 6)))]
    given[3] = np.exp(0.2 * given[3])
    wanted = [jnp.asarray(rng.normal(size=shape)) for shape in ((e, D), (e,), (e, e))]

    @jax.jit
    def total(mean, cov, centers, lengthscale, beta):
        rule = network_moments(Gaussian(mean, cov), centers, lengthscale, beta)
        return sum(jnp.sum(w * part) for w, part in zip(wanted, jax.tree.leaves(rule), strict=True))

    slopes = jax.jit(jax.grad(total, argnums=tuple(range(5))))(*map(jnp.asarray, given))
    for which, (value, slope) in enumerate(zip(given, slopes, strict=True)):
        along = rng.normal(size=np.shape(value))
        along = along + along.T if which == 1 else along
        ahead, behind = ([*given[:which], value + h * along, *given[which + 1 :]] for h in (1e-6, -1e-6))
        numeric = (total(*ahead) - total(*behind)) / 2e-6
        np.testing.assert_allclose(np.sum(np.asarray(slope) * along), numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_covariances_are_never_indefinite(seed):
    gp, p = a_process(seed=seed), an_input(seed=seed, scale=3.0)
    assert np.linalg.eigvalsh(push_forward(p, gp.moments(p, noise=False)).cov).min() > -1e-10
