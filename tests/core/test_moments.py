"""Gaussians through functions, against Monte Carlo, quadrature and limits."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Gaussian, push_forward
from forethought.core.moments import (
    affine,
    cosines,
    marginal,
    quadratic_moments,
    saturating_moments,
    squash,
    squashed,
    taylor,
    unscented,
    with_sines,
)

SAMPLES = 400_000


def a_gaussian(d, scale=0.6, seed=0):
    mean_key, root_key = jr.split(jr.key(seed))
    root = scale * jr.normal(root_key, (d, d)) / np.sqrt(d)
    return Gaussian(jr.normal(mean_key, (d,)), root @ root.T)


def sampled(p, function, seed=1):
    """Mean, covariance, and covariance with the input, by sampling."""
    zs = np.random.default_rng(seed).multivariate_normal(np.asarray(p.mean), np.asarray(p.cov), SAMPLES)
    ys = np.asarray(jax.jit(jax.vmap(function))(jnp.asarray(zs, p.mean.dtype)), np.float64)
    d = zs.shape[1]
    both = np.cov(np.concatenate([zs, ys], 1).T)
    return ys.mean(0), both[d:, d:], both[:d, d:]


@pytest.mark.parametrize("d", [1, 3])
def test_squash_equals_sampling(d):
    p, limit = a_gaussian(d, 1.0), jnp.arange(1.0, d + 1)
    rule, y = jax.jit(lambda p: ((rule := squashed(p, limit)), push_forward(p, rule)))(p)
    mean, cov, cross = sampled(p, lambda z: squash(z, limit))
    np.testing.assert_allclose(y.mean, mean, atol=0.01 * d)
    np.testing.assert_allclose(y.cov, cov, atol=0.01 * d**2)
    np.testing.assert_allclose(p.cov @ rule.F.T, cross, atol=0.01 * d)
    far = np.linspace(-9, 9, 101)[:, None] * np.ones(d)
    assert (
        np.abs(jax.jit(jax.vmap(lambda z: squash(z, limit)))(jnp.asarray(far, jnp.float32))) <= np.asarray(limit) + 1e-5
    ).all()


def test_sines_join_what_they_come_from():
    p = a_gaussian(3)
    joint = jax.jit(lambda p: with_sines(p, (2, 0)))(p)
    mean, cov, cross = sampled(p, lambda z: jnp.stack([jnp.sin(z[2]), jnp.sin(z[0]), jnp.cos(z[2]), jnp.cos(z[0])]))
    np.testing.assert_array_equal(marginal(joint, range(3)).cov, p.cov)
    np.testing.assert_allclose(joint.mean[3:], mean, atol=5e-3)
    np.testing.assert_allclose(joint.cov[3:, 3:], cov, atol=5e-3)
    np.testing.assert_allclose(joint.cov[:3, 3:], cross, atol=5e-3)
    assert with_sines(p, ()) is p


@jax.jit
def sine_covariance(mean, cov):
    """The covariance of the sines of two angles; and the gradients of the sum of its entries."""

    def total(mean, cov):
        p = Gaussian(mean, cov)
        found = push_forward(p, cosines(p, np.eye(2), -np.pi / 2)).cov
        return jnp.sum(found), found

    return total(mean, cov)[1], jax.grad(total, (0, 1), has_aux=True)(mean, cov)[0]


@pytest.mark.parametrize("scale", [0.0, 1e-7, 1e-3, 1.0, 30.0])
def test_sines_of_hardly_and_hugely_uncertain_angles(scale):
    """Small covariances keep their digits, large ones do not overflow, and gradients are finite at both ends."""
    with jax.enable_x64(True):
        mean, cov = jnp.array([0.3, -2.0]), scale**2 * jnp.array([[1.0, 0.4], [0.4, 2.0]])
        found, gradients = sine_covariance(mean, cov)
        slope = np.cos(mean)
        if 0 < scale < 0.01:  # the tangent
            np.testing.assert_allclose(found, np.outer(slope, slope) * np.asarray(cov), rtol=1e-4)
        if scale > 10:  # anything on the circle
            np.testing.assert_allclose(found, 0.5 * np.eye(2), atol=1e-6)
        assert all(np.isfinite(g).all() for g in gradients)
        numeric = (np.sum(sine_covariance(mean, cov + 1e-6 * np.eye(2))[0]) - np.sum(found)) / 1e-6
        np.testing.assert_allclose(np.trace(gradients[1]), numeric, rtol=1e-3, atol=1e-5)


def test_costs_equal_sampling():
    p = a_gaussian(2, 0.8)
    weight = jnp.array([[2.0, 0.3], [0.3, 1.0]])
    for moments, cost in (
        (saturating_moments(p, width=0.7), lambda z: 1 - jnp.exp(-jnp.sum(z**2) / (2 * 0.7**2))),
        (quadratic_moments(p, weight), lambda z: z @ weight @ z),
    ):
        mean, variance, _ = sampled(p, lambda z, cost=cost: cost(z)[None])
        np.testing.assert_allclose(moments[0], mean[0], rtol=0.01)
        np.testing.assert_allclose(moments[1], variance[0, 0], rtol=0.03)


def test_certain_cost_is_the_cost():
    mean, variance = saturating_moments(Gaussian.point(jnp.array([0.2, 0.1])), width=0.25)
    np.testing.assert_allclose(mean, 1 - np.exp(-0.05 / (2 * 0.0625)), rtol=1e-5)
    np.testing.assert_allclose(variance, 0, atol=1e-6)


@pytest.mark.parametrize("rule", [unscented, taylor])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_rules_are_exact_for_affine_functions(rule, dtype):
    with jax.enable_x64(dtype == jnp.float64):
        p = jax.tree.map(lambda a: jnp.asarray(a, dtype), a_gaussian(3))
        A = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), dtype)
        out = jax.jit(lambda p: rule(lambda z: A @ z + 1, p))(p)
        expected = affine(p, A, 1.0)
        tolerance = {"rtol": 1e-2, "atol": 1e-3} if dtype == jnp.float32 else {"rtol": 1e-6, "atol": 1e-8}
        np.testing.assert_allclose(out.F, A, **tolerance)
        np.testing.assert_allclose(push_forward(p, out).mean, expected.mean, **tolerance)
        np.testing.assert_allclose(push_forward(p, out).cov, expected.cov, **tolerance)


def test_sigma_points_see_curvature():
    """The mean of a quadratic is exact; its gradient by a singular covariance is finite."""
    with jax.enable_x64(True):
        p = a_gaussian(3)
        p = jax.tree.map(lambda a: a.astype(jnp.float64), p)
        C = jnp.diag(jnp.array([1.0, 2.0, 0.5]))
        y = jax.jit(lambda p: push_forward(p, unscented(lambda z: (z @ C @ z)[None], p)))(p)
        np.testing.assert_allclose(y.mean[0], quadratic_moments(p, C)[0], rtol=1e-6)

        def spread(cov):
            q = Gaussian(p.mean, cov)
            return push_forward(q, unscented(jnp.sin, q)).cov.sum()

        assert bool(jnp.isfinite(jax.jit(jax.grad(spread))(jnp.zeros((3, 3)))).all())
