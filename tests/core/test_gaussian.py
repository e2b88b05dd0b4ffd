"""The algebra of Gaussians against dense references (NumPy and SciPy in float64), sampling, and limits."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.linalg as sla
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from forethought.core import (
    Delta,
    DiagonalGaussian,
    Gaussian,
    LinearGaussian,
    Quadratic,
    condition,
    expected_kl,
    join,
    kl,
    push_forward,
)
from forethought.core.linalg import cholesky, psd_sqrt, solve_psd, symmetrize

D, E = 3, 2


def covariance(rng, n, rank=None):
    root = rng.normal(size=(n, n if rank is None else rank))
    return root @ root.T + (0.3 * np.eye(n) if rank is None else 0)


def problem(seed):
    """Mean and covariance of z, and F, f, cov of y | z, in float64 NumPy."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=D), covariance(rng, D), rng.normal(size=(E, D)), rng.normal(size=E), covariance(rng, E)


def of(kind, *arrays, dtype=None):
    return kind(*(jnp.asarray(a, dtype) for a in arrays))


def close(ours, reference, dtype):
    assert jnp.asarray(ours).dtype == dtype
    tolerance = 2e-4 if dtype == jnp.float32 else 1e-10
    np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance)


def reference_kl(m0, S0, m1, S1):
    inverse = np.linalg.inv(S1)
    log_det = np.linalg.slogdet(S1)[1] - np.linalg.slogdet(S0)[1]
    return 0.5 * (np.trace(inverse @ S0) + (m1 - m0) @ inverse @ (m1 - m0) - len(m0) + log_det)


@pytest.mark.parametrize("seed", range(3))
def test_log_prob_entropy_and_std_match_scipy(seed, dtype):
    mean, cov, *_ = problem(seed)
    x = np.random.default_rng(seed + 100).normal(size=D)
    ours, reference = of(Gaussian, mean, cov, dtype=dtype), multivariate_normal(mean, cov)
    close(jax.jit(Gaussian.log_prob)(ours, jnp.asarray(x, dtype)), reference.logpdf(x), dtype)
    close(jax.jit(Gaussian.entropy)(ours), reference.entropy(), dtype)
    close(ours.std, np.sqrt(np.diag(cov)), dtype)


@pytest.mark.parametrize("seed", range(3))
def test_diagonal_gaussian_is_the_gaussian_with_that_diagonal(seed, dtype):
    rng = np.random.default_rng(seed)
    mean, std, x = rng.normal(size=D), rng.uniform(0.2, 2, D), rng.normal(size=D)
    ours = of(DiagonalGaussian, mean, std, dtype=dtype)
    close(ours.cov, np.diag(std**2), dtype)
    close(ours.log_prob(jnp.asarray(x, dtype)), multivariate_normal(mean, np.diag(std**2)).logpdf(x), dtype)


@pytest.mark.parametrize("seed", range(3))
def test_join_and_push_forward_match_the_dense_block_matrix(seed, dtype):
    """[z; y] is a linear map of independent z and noise: its covariance is A blockdiag(S, R) A'."""
    m, S, F, f, R = problem(seed)
    A = np.block([[np.eye(D), np.zeros((D, E))], [F, np.eye(E)]])
    cov = A @ sla.block_diag(S, R) @ A.T
    p, conditional = of(Gaussian, m, S, dtype=dtype), of(LinearGaussian, F, f, R, dtype=dtype)
    joint, marginal = jax.jit(join)(p, conditional), jax.jit(push_forward)(p, conditional)
    close(joint.mean, np.concatenate([m, F @ m + f]), dtype)
    close(joint.cov, cov, dtype)
    close(marginal.mean, F @ m + f, dtype)
    close(marginal.cov, cov[D:, D:], dtype)
    np.testing.assert_array_equal(joint.cov, joint.cov.T)


@pytest.mark.parametrize("seed", range(3))
def test_condition_undoes_join(seed, dtype):
    m, S, F, f, R = problem(seed)
    joint = jax.jit(join)(of(Gaussian, m, S, dtype=dtype), of(LinearGaussian, F, f, R, dtype=dtype))
    back = jax.jit(lambda j: condition(j, D))(joint)
    tolerance = 5e-3 if dtype == jnp.float32 else 1e-9
    for ours, reference in ((back.F, F), (back.f, f), (back.cov, R)):
        np.testing.assert_allclose(ours, reference, rtol=tolerance, atol=tolerance)


def test_condition_matches_the_textbook_formula_and_jitter_serves_singular_covariances():
    rng = np.random.default_rng(0)
    mean, cov = rng.normal(size=5), covariance(rng, 5)
    with jax.enable_x64():
        given_three = jax.jit(lambda joint, jitter: condition(joint, 3, jitter=jitter), static_argnums=1)
        ours = given_three(Gaussian(jnp.array(mean), jnp.array(cov)), 0.0)
        gain = cov[3:, :3] @ np.linalg.inv(cov[:3, :3])
        np.testing.assert_allclose(ours.F, gain, rtol=1e-9)
        np.testing.assert_allclose(ours.cov, cov[3:, 3:] - gain @ cov[:3, 3:], rtol=1e-9)
        point = jnp.diag(jnp.array([1.0, 0, 0, 1, 1]))
        assert jnp.isnan(given_three(Gaussian(jnp.array(mean), point), 0.0).F).any()
        with_jitter = given_three(Gaussian(jnp.array(mean), point), 1e-9)
        np.testing.assert_allclose(with_jitter.cov, np.eye(2), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_kl_matches_the_dense_formula_and_monte_carlo(seed, dtype):
    m0, S0, *_ = problem(seed)
    m1, S1, *_ = problem(seed + 50)
    p, q = of(Gaussian, m0, S0, dtype=dtype), of(Gaussian, m1, S1, dtype=dtype)
    divergence = jax.jit(kl)
    close(divergence(p, q), reference_kl(m0, S0, m1, S1), dtype)
    np.testing.assert_allclose(divergence(p, p), 0, atol=1e-5)
    samples = np.random.default_rng(seed).multivariate_normal(m0, S0, 200_000)
    ratios = multivariate_normal(m0, S0).logpdf(samples) - multivariate_normal(m1, S1).logpdf(samples)
    assert abs(float(divergence(p, q)) - ratios.mean()) < 5 * ratios.std() / np.sqrt(len(ratios))


@pytest.mark.parametrize("seed", range(3))
def test_expected_kl_is_the_mean_of_kl_over_z(seed, dtype):
    m, S, F, f, R = problem(seed)
    _, _, G, g, Q = problem(seed + 50)
    z = of(Gaussian, m, S, dtype=dtype)
    p, q = of(LinearGaussian, F, f, R, dtype=dtype), of(LinearGaussian, G, g, Q, dtype=dtype)
    ours = jax.jit(expected_kl)(p, q, z)
    # E (d + D z)' Q^-1 (d + D z) by its second moment, the rest at any z
    inverse, slope, offset = np.linalg.inv(Q), F - G, f - g
    second = S + np.outer(m, m)
    expected_square = np.trace(slope.T @ inverse @ slope @ second) + offset @ inverse @ (offset + 2 * slope @ m)
    rest = reference_kl(np.zeros(E), R, np.zeros(E), Q)
    close(ours, rest + 0.5 * expected_square, dtype)
    samples = np.random.default_rng(seed).multivariate_normal(m, S, 20_000)
    gaps = samples @ slope.T + offset
    values = rest + 0.5 * np.einsum("si,ij,sj->s", gaps, inverse, gaps)
    assert abs(float(ours) - values.mean()) < 5 * values.std() / np.sqrt(len(values))


def test_expected_kl_of_a_point_is_kl_there():
    m, _, F, f, R = problem(0)
    _, _, G, g, Q = problem(1)
    with jax.enable_x64():
        p, q, z = of(LinearGaussian, F, f, R), of(LinearGaussian, G, g, Q), jnp.asarray(m)
        ours, there = jax.jit(lambda p, q, z: (expected_kl(p, q, Gaussian.point(z)), kl(p(z), q(z))))(p, q, z)
        np.testing.assert_allclose(ours, there, rtol=1e-10)


def test_then_composes_as_pushing_forward_twice(dtype):
    m, S, F, f, R = problem(0)
    rng = np.random.default_rng(9)
    first = of(LinearGaussian, F, f, R, dtype=dtype)
    second = of(LinearGaussian, rng.normal(size=(4, E)), rng.normal(size=4), covariance(rng, 4), dtype=dtype)
    p = of(Gaussian, m, S, dtype=dtype)
    at_once, stepwise = push_forward(p, first.then(second)), push_forward(push_forward(p, first), second)
    close(at_once.mean, stepwise.mean, dtype)
    close(at_once.cov, stepwise.cov, dtype)


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_samples_have_the_mean_and_covariance_even_where_singular(rank, dtype):
    rng = np.random.default_rng(rank)
    mean, cov, count = rng.normal(size=3), covariance(rng, 3, rank), 40_000
    p = of(Gaussian, mean, cov, dtype=dtype)
    samples = np.asarray(jax.jit(jax.vmap(lambda key: p.sample(key=key)))(jr.split(jr.key(0), count)))
    assert samples.dtype == dtype
    scale = 5 * (1 + np.trace(cov)) / np.sqrt(count)
    np.testing.assert_allclose(samples.mean(0), mean, atol=scale)
    np.testing.assert_allclose(np.cov(samples.T), cov, atol=2 * scale)
    off_support = np.linalg.svd(samples - mean, compute_uv=False)[rank:]
    assert (off_support < (2.0 if dtype == jnp.float32 else 1e-4)).all()


def test_diagonal_samples_and_certainty(dtype):
    p = of(DiagonalGaussian, [1.0, -2.0], [0.5, 0.0], dtype=dtype)
    samples = np.asarray(jax.jit(jax.vmap(lambda key: p.sample(key=key)))(jr.split(jr.key(0), 20_000)))
    np.testing.assert_allclose(samples.mean(0), [1, -2], atol=0.02)
    np.testing.assert_allclose(samples.std(0), [0.5, 0.0], atol=0.02)
    x = jnp.array([1.0, 2.0], dtype)
    for certain in (Delta(x), Gaussian.point(x)):
        np.testing.assert_array_equal(certain.sample(key=jr.key(1)), x)
        np.testing.assert_array_equal(certain.cov, np.zeros((2, 2)))
        assert certain.cov.dtype == dtype


def test_a_point_pushes_forward_to_the_noise_and_has_no_density():
    m, _, F, f, R = problem(0)
    with jax.enable_x64():
        pushed = push_forward(Gaussian.point(jnp.asarray(m)), of(LinearGaussian, F, f, R))
        np.testing.assert_allclose(pushed.cov, R, rtol=1e-12)
        assert jnp.isnan(Gaussian.point(jnp.asarray(m)).log_prob(jnp.asarray(m)))


def test_quadratic_expectation_matches_monte_carlo_and_a_linear_one_is_exact(dtype):
    m, S, *_ = problem(0)
    rng = np.random.default_rng(5)
    C, c = symmetrize(jnp.asarray(rng.normal(size=(D, D)), dtype)), rng.normal(size=D)
    q, p = Quadratic(C, jnp.asarray(c, dtype), jnp.asarray(0.7, dtype)), of(Gaussian, m, S, dtype=dtype)
    samples = rng.multivariate_normal(m, S, 100_000)
    values = 0.5 * np.einsum("si,ij,sj->s", samples, C, samples) + samples @ c + 0.7
    assert abs(float(q.expectation(p)) - values.mean()) < 5 * values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(q(jnp.asarray(samples[0], dtype)), values[0], rtol=1e-4)
    flat = Quadratic(jnp.zeros_like(C), q.c, q.const)
    close(flat.expectation(p), c @ m + 0.7, dtype)


def test_linear_gaussian_has_nothing_to_draw_and_stacks_over_time():
    _, _, F, f, R = problem(0)
    conditional = of(LinearGaussian, F, f, R, dtype=jnp.float32)
    assert conditional.draw(key=jr.key(0)) is conditional
    stacked = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), conditional)
    means = jax.vmap(lambda step, z: step(z).mean)(stacked, jnp.ones((2, D)))
    np.testing.assert_allclose(means[1], 2 * means[0], rtol=1e-5)


# Properties, on random problems.  Compiled once: only the numbers change.
seeds = st.integers(0, 10_000)
_kl = jax.jit(kl)
_pushed_kl = jax.jit(lambda p, q, c: (kl(p, q), kl(push_forward(p, c), push_forward(q, c))))
_chain = jax.jit(lambda p, q, c, d: (kl(join(p, c), join(q, d)), kl(p, q), expected_kl(c, d, p)))


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_processing_never_tells_distributions_better_apart(seed):
    """0 <= KL(push p || push q) <= KL(p || q): the data-processing inequality."""
    m0, S0, F, f, R = problem(seed)
    m1, S1, *_ = problem(seed + 20_000)
    p, q = of(Gaussian, m0, S0, dtype=jnp.float32), of(Gaussian, m1, S1, dtype=jnp.float32)
    before, after = _pushed_kl(p, q, of(LinearGaussian, F, f, R, dtype=jnp.float32))
    assert -1e-3 <= after <= before * (1 + 1e-3) + 1e-3


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_chain_rule_of_kl(seed):
    """KL of joints = KL of marginals + expected KL of conditionals."""
    m0, S0, F, f, R = problem(seed)
    m1, S1, G, g, Q = problem(seed + 20_000)
    with jax.enable_x64():
        p, q = of(Gaussian, m0, S0), of(Gaussian, m1, S1)
        joint, marginal, conditional = _chain(p, q, of(LinearGaussian, F, f, R), of(LinearGaussian, G, g, Q))
        np.testing.assert_allclose(joint, marginal + conditional, rtol=1e-7)


def test_linear_algebra_against_dense_references(dtype):
    rng = np.random.default_rng(0)
    a, b, B = covariance(rng, 4), rng.normal(size=4), rng.normal(size=(4, 2))
    ours = jnp.asarray(a, dtype)
    close(cholesky(ours), np.linalg.cholesky(a), dtype)
    close(solve_psd(ours, jnp.asarray(b, dtype)), np.linalg.solve(a, b), dtype)
    close(solve_psd(ours, jnp.asarray(B, dtype)), np.linalg.solve(a, B), dtype)
    close(psd_sqrt(ours) @ psd_sqrt(ours).T, a, dtype)
    close(cholesky(ours, jitter=0.1), np.linalg.cholesky(a + 0.1 * np.trace(a) / 4 * np.eye(4)), dtype)
    skew = jnp.asarray(rng.normal(size=(4, 4)), dtype)
    np.testing.assert_array_equal(symmetrize(skew), symmetrize(skew).T)


def test_limits_of_linear_algebra(dtype):
    zero, indefinite = jnp.zeros((3, 3), dtype), jnp.diag(jnp.array([1.0, -1.0, 2.0], dtype))
    np.testing.assert_array_equal(psd_sqrt(zero), zero)
    assert jnp.isnan(cholesky(indefinite)).any()
    line = jnp.ones((3, 3), dtype)
    np.testing.assert_allclose(psd_sqrt(line) @ psd_sqrt(line).T, line, atol=1e-5)
    assert jnp.isfinite(cholesky(line, jitter=1e-4)).all()
