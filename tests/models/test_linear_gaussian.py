"""Local linear-Gaussian fits against a dense Bayesian regression (NumPy), in the limits of the prior, and bad input."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Gaussian, LinearGaussian, NumericalFailure, Result, UsageError
from forethought.models.linear_gaussian import NormalInverseWishart, fit_linear_gaussian, model_prior

T, N, d, e = 3, 5, 4, 2
D = d + e
fit = eqx.filter_jit(fit_linear_gaussian)


def rollouts(rng, count=N, noise=0.1):
    """Inputs, outputs, and the F, f that made them."""
    F, f = rng.normal(size=(T, e, d)), rng.normal(size=(T, e))
    z = rng.normal(size=(count, T, d)) * np.array([1.0, 3.0, 0.1, 1.0]) + rng.normal(size=(T, d))
    return z, np.einsum("ted,ntd->nte", F, z) + f + noise * rng.normal(size=(count, T, e)), F, f


def covariances(rng, size=D):
    roots = rng.normal(size=(T, size, size))
    return roots @ np.swapaxes(roots, 1, 2) + 0.5 * np.eye(size)


def prior_of(rng, dtype, strength=2.5, mean_strength=1.5):
    p = Gaussian(jnp.asarray(rng.normal(size=(T, D)), dtype), jnp.asarray(covariances(rng), dtype))
    return NormalInverseWishart.around(p, strength, mean_strength=mean_strength)


def dense_regression(prior, z, y, t):
    """Bayesian linear regression on [z; 1] with a matrix-normal-inverse-Wishart prior, with inverses and no centering.

    Source: Minka (2000), Bayesian linear regression, equations 3-16; the prior is the conditional of the joint one.
    """
    m, scale, k = (np.asarray(a[t], float) for a in (prior.mean, prior.scale, prior.mean_strength))
    F0 = scale[d:, :d] @ np.linalg.inv(scale[:d, :d])
    B0 = np.column_stack([F0, m[d:] - F0 @ m[:d]])
    precision = np.block([[scale[:d, :d] + k * np.outer(m[:d], m[:d]), k * m[:d, None]], [k * m[None, :d], k]])
    Z, Y = np.column_stack([z[:, t], np.ones(len(z))]), y[:, t]
    posterior = precision + Z.T @ Z
    B = (B0 @ precision + Y.T @ Z) @ np.linalg.inv(posterior)
    squares = scale[d:, d:] - F0 @ scale[:d, d:] + B0 @ precision @ B0.T + Y.T @ Y - B @ posterior @ B.T
    return B[:, :d], B[:, d], squares / (float(prior.dof[t]) + len(z) - D - 1)


def test_a_fit_equals_a_dense_bayesian_regression(dtype):
    rng = np.random.default_rng(0)
    z, y, *_ = rollouts(rng)
    prior = prior_of(rng, dtype)
    ours = fit(jnp.asarray(z, dtype), jnp.asarray(y, dtype), prior)
    assert Result(int(ours.result)) is Result.converged and ours.conditional.F.dtype == dtype
    tolerance = 1e-8 if dtype == jnp.float64 else 2e-3
    for t in range(T):
        for got, expected in zip(jax.tree.leaves(ours.conditional), dense_regression(prior, z, y, t), strict=True):
            np.testing.assert_allclose(got[t], expected, rtol=tolerance, atol=tolerance)


def test_the_posterior_of_all_points_equals_that_of_one_point_after_the_other():
    with jax.enable_x64(True):
        rng = np.random.default_rng(1)
        prior = jax.tree.map(lambda a: a[0], prior_of(rng, float))
        points = jnp.asarray(rng.normal(size=(7, D)))
        at_once, step_by_step = prior.update(points), prior
        for one in points:
            step_by_step = step_by_step.update(one[None])
        for ours, theirs in zip(jax.tree.leaves(at_once), jax.tree.leaves(step_by_step), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(prior.expected().cov, prior.scale / 2.5, rtol=1e-12)


def test_a_prior_of_infinite_strength_is_the_answer_and_many_rollouts_are_least_squares():
    with jax.enable_x64(True):
        rng = np.random.default_rng(2)
        model = rng.normal(size=(T, e, d)), rng.normal(size=(T, e)), covariances(rng, e)
        model = LinearGaussian(*(jnp.asarray(a) for a in model))
        inputs = Gaussian(jnp.asarray(rng.normal(size=(T, d))), jnp.asarray(covariances(rng, d)))
        z, y, *_ = rollouts(rng)
        strong = fit(jnp.asarray(z), jnp.asarray(y), model_prior(inputs, model, 1e12))
        for ours, theirs in zip(jax.tree.leaves(strong.conditional), jax.tree.leaves(model), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)
        z, y, *_ = rollouts(rng, count=400)
        weak = fit(jnp.asarray(z), jnp.asarray(y), model_prior(inputs, model, 1e-10))
        plain = fit(jnp.asarray(z), jnp.asarray(y), regularization=0.0)
        for t in range(T):
            Z = np.column_stack([z[:, t], np.ones(400)])
            B, squares, *_ = np.linalg.lstsq(Z, y[:, t])
            for ours in (plain, weak):
                np.testing.assert_allclose(ours.conditional.F[t], B[:d].T, atol=1e-8)
                np.testing.assert_allclose(ours.conditional.f[t], B[d], atol=1e-8)
                np.testing.assert_allclose(jnp.diagonal(ours.conditional.cov[t]), squares / 400, rtol=1e-8)


def test_noise_far_below_the_spread_of_the_outputs_survives_single_precision():
    z, y, *_ = rollouts(np.random.default_rng(3), count=40, noise=1e-4)
    cov = fit(jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32)).conditional.cov
    np.testing.assert_allclose(jnp.diagonal(cov, axis1=1, axis2=2), 1e-8, rtol=0.7)
    assert np.linalg.eigvalsh(cov).min() > 0


def test_conditions_are_a_batch():
    rng = np.random.default_rng(4)
    z, y = (jnp.asarray(np.stack(a), jnp.float32) for a in zip(*(rollouts(rng)[:2] for _ in range(2)), strict=True))
    prior = prior_of(rng, jnp.float32)
    together = eqx.filter_jit(eqx.filter_vmap(fit_linear_gaussian, in_axes=(0, 0, None)))(z, y, prior)
    apart = [fit(z[i], y[i], prior).conditional.F for i in range(2)]
    np.testing.assert_allclose(together.conditional.F, jnp.stack(apart), rtol=1e-5, atol=1e-5)


def test_inputs_that_never_vary_have_no_slope_and_actions_that_do_not_vary_are_a_failure():
    z, y, *_ = rollouts(np.random.default_rng(5), count=10)
    z[:, 0, 0], z[:, :, 2] = 0.3, 7.0  # the first state is always the same; one coordinate is constant
    z, y = jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32)
    fine = fit(z, y, varying=1)
    assert fine.result == Result.converged and jnp.isfinite(fine.conditional.F).all()
    np.testing.assert_allclose(fine.conditional.F[0, :, 0], 0, atol=1e-6)
    np.testing.assert_allclose(fine.conditional.F[:, :, 2], 0, atol=1e-6)
    bad = fit(z.at[:, 1, -1].set(0.5), y, varying=1)
    assert bad.result == Result.no_variation
    with pytest.raises(NumericalFailure, match="raise the controller's noise, or fit with a prior"):
        Result(int(bad.result)).throw()


def test_the_ridge_forgets_combinations_of_inputs_that_do_not_vary_and_keeps_the_others():
    rng = np.random.default_rng(5)
    a, u, noise = rng.normal(size=(N, T)), rng.normal(size=(N, T)), 1e-4 * rng.normal(size=(3, N, T))
    z = np.stack([a, a + noise[0], u, u + noise[2]], axis=-1)  # an angle and a position that follows from it
    y = np.stack([a + u, a + u + noise[1]], axis=-1)
    cov = np.broadcast_to(np.cov(np.concatenate([z, y], -1).reshape(-1, D).T), (T, D, D))
    with jax.enable_x64(True):
        prior = NormalInverseWishart.around(Gaussian(jnp.zeros((T, D)), jnp.asarray(cov)), 1.0)
        free, ridged = (
            np.asarray(fit(jnp.asarray(z), jnp.asarray(y), prior, regularization=r).conditional.F) for r in (1e-12, 0.1)
        )
    inconsistent = np.array([1.0, -1.0, 0.0, 0.0]) / np.sqrt(2)
    assert np.abs(free @ inconsistent).max() > 0.3 and np.abs(ridged @ inconsistent).max() < 0.02
    np.testing.assert_allclose(ridged @ np.array([1.0, 1.0, 0.0, 0.0]), 1.0, atol=0.1)
    np.testing.assert_allclose(ridged @ np.array([0.0, 0.0, 1.0, 1.0]), 1.0, atol=0.1)


def test_identical_rollouts_give_the_prior_and_no_nan():
    rng = np.random.default_rng(6)
    z, y, *_ = rollouts(rng, count=1)
    z, y = (jnp.asarray(np.repeat(a, N, axis=0), jnp.float32) for a in (z, y))
    prior = prior_of(rng, jnp.float32, mean_strength=0.0)
    ours = fit(z, y, prior)
    expected = jnp.stack([jnp.linalg.solve(S[:d, :d], S[:d, d:]).T for S in prior.scale])
    assert ours.result == Result.converged
    np.testing.assert_allclose(ours.conditional.F, expected, rtol=1e-4, atol=1e-4)
    assert fit(jnp.repeat(z, 2, axis=0), jnp.repeat(y, 2, axis=0), varying=1).result == Result.no_variation


def test_failures_are_results():
    rng = np.random.default_rng(7)
    z, y, *_ = rollouts(rng)
    z, y, prior = jnp.asarray(z, jnp.float32), jnp.asarray(y, jnp.float32), prior_of(rng, jnp.float32)
    assert fit(z.at[0, 0, 0].set(jnp.nan), y, prior).result == Result.not_finite
    assert fit(z, y.at[0, 0, 0].set(jnp.inf), prior).result == Result.not_finite
    indefinite = eqx.tree_at(lambda p: p.scale, prior, -1e3 * prior.scale)
    assert fit(z, y, indefinite).result == Result.not_positive_definite
    assert fit(z, y, eqx.tree_at(lambda p: p.dof, prior, 0 * prior.dof)).result == Result.not_positive_definite


def test_bad_input_is_one_line():
    z, y = jnp.zeros((N, T, d)), jnp.zeros((N, T, e))
    with pytest.raises(UsageError, match="needs at least 6 rollouts for 4 inputs, and there are 5") as error:
        fit_linear_gaussian(z, y)
    assert "\n" not in str(error.value)
    prior = prior_of(np.random.default_rng(8), jnp.float32)
    with pytest.raises(ValueError, match=r"mean of shape \(3, 8\), not \(3, 6\)"):
        fit_linear_gaussian(jnp.zeros((N, T, 6)), y, prior)
