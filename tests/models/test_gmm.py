"""Mixtures: expectation-maximization against scikit-learn, conditionals against quadrature, priors, bad input."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.stats import multivariate_normal

from forethought.core import ContinuousConditional, Distribution, Gaussian, Result, UsageError
from forethought.models.expectation_maximization import (
    best_count,
    bic,
    expectation,
    expectation_maximization,
    initial_components,
)
from forethought.models.gmm import GMM
from forethought.models.linear_gaussian import NormalInverseWishart
from forethought.models.mixture import Components, FittedGMM, GaussianMixture

D = 3
TRUE = Components(
    np.array([0.5, 0.2, 0.3]),
    np.array([[0.0, 0.0, 1.0], [3.0, 1.0, -1.0], [-3.0, 2.0, 0.0]]),
    np.stack([a @ a.T + 0.1 * np.eye(D) for a in np.random.default_rng(0).normal(size=(3, D, D)) * 0.7]),
)
SETTINGS = {"iterations": 200, "tolerance": 1e-10, "regularization": 1e-6}


def samples(count, seed=0, components=TRUE):
    rng = np.random.default_rng(seed)
    picks = rng.choice(components.size, size=count, p=components.weights)
    roots = np.linalg.cholesky(components.covs)
    return components.means[picks] + np.einsum("nij,nj->ni", roots[picks], rng.normal(size=(count, D)))


def maximize(points, start, seed=0, **changes):
    return expectation_maximization(points, start, **SETTINGS | changes, random=np.random.default_rng(seed))


def test_expectation_maximization_equals_that_of_scikit_learn():
    from sklearn.mixture import GaussianMixture as Reference

    points = samples(300)
    start = initial_components(points, 3, 1e-6, np.random.default_rng(1))
    ours = maximize(points, start)
    theirs = Reference(
        3, tol=1e-10, reg_covar=1e-6, max_iter=200, weights_init=start.weights, means_init=start.means,
        precisions_init=np.linalg.inv(start.covs),
    ).fit(points)  # fmt: skip
    assert ours.converged and theirs.converged_
    assert ours.log_likelihood == pytest.approx(theirs.score(points), abs=1e-8)
    np.testing.assert_allclose(ours.components.means, theirs.means_, atol=1e-4)
    np.testing.assert_allclose(ours.components.covs, theirs.covariances_, atol=1e-4)
    shares, each = expectation(points, ours.components)
    np.testing.assert_allclose(each, theirs.score_samples(points), atol=1e-3)
    np.testing.assert_allclose(shares, theirs.predict_proba(points), atol=1e-3)
    assert bic(ours, 300) == pytest.approx(-0.5 * theirs.bic(points), rel=1e-6)


def test_each_step_raises_the_likelihood():
    points = samples(200, seed=2)
    start = initial_components(points, 3, 1e-6, np.random.default_rng(0))
    values = [maximize(points, start, iterations=n, tolerance=0.0).log_likelihood for n in range(8)]
    assert np.all(np.diff(values) >= 0) and values[-1] > values[0] + 1e-3


def test_a_light_component_is_restarted_where_the_rows_are_explained_badly():
    points = samples(300, seed=3)
    start = Components(np.array([0.5, 0.5, 1e-9]), TRUE.means.copy(), TRUE.covs.copy())
    start.means[2] = 100.0  # no row is there
    without_restarts = maximize(points, Components(np.full(2, 0.5), TRUE.means[:2], TRUE.covs[:2]))
    fit = maximize(points, start)
    assert fit.restarted >= 1 and fit.components.size == 3 and fit.components.weights.min() > 0.1
    assert fit.log_likelihood > without_restarts.log_likelihood + 0.1
    good = maximize(points, initial_components(points, 3, 1e-6, np.random.default_rng(0)))
    assert good.restarted == 0 and fit.log_likelihood == pytest.approx(good.log_likelihood, abs=0.02)


def test_components_that_stay_light_are_removed():
    points = np.random.default_rng(4).normal(size=(10, D))
    fit = maximize(points, Components(np.full(6, 1 / 6), points[:6], np.repeat(np.eye(D)[None], 6, axis=0)))
    assert fit.components.size <= 2 and np.isfinite(fit.log_likelihood)
    same = maximize(np.ones((8, D)), initial_components(np.ones((8, D)), 2, 1e-6, np.random.default_rng(0)))
    assert np.isfinite(same.log_likelihood) and np.isfinite(same.components.covs).all()


def test_the_number_of_components_is_that_of_the_best_score():
    points = samples(600, seed=5)
    rng = np.random.default_rng(0)

    def fit(count):
        return maximize(points, initial_components(points, count, 1e-6, rng), tolerance=1e-5)

    for start in (1, 3, 12):
        best, tried = best_count(fit, lambda one: bic(one, 600), start=start, limit=12)
        assert 3 <= best.components.size <= 4 and tried[0] == start
    assert GMM(selection="rows", max_components=5).fit_density(points, key=jr.key(0))[1].components == 5
    for selection in ("bic", "holdout"):
        report = GMM(selection=selection).fit_density(points, key=jr.key(0))[1]
        assert 3 <= report.components <= 4 and report.tried[:3] == (1, 2, 4)


def test_a_warm_start_does_not_lower_the_likelihood():
    first, both = samples(200, seed=6), samples(400, seed=6)
    settings = GMM(selection="bic", max_components=4)
    mixture, _ = settings.fit_density(first, key=jr.key(0))
    before = float(expectation(both, mixture.components)[1].mean())
    _, report = settings.fit_density(both, previous=mixture, key=jr.key(1))
    assert report.log_likelihood >= before - 1e-4 and report.tried[0] == mixture.components.size
    again, repeated = settings.fit_density(first, previous=mixture, key=jr.key(2))
    assert repeated.iterations <= 5 and repeated.restarted == 0  # it begins where it ended


def test_a_mixture_is_a_distribution():
    with jax.enable_x64(True):
        mixture = GaussianMixture.of(TRUE.padded())
        assert isinstance(mixture, Distribution) and mixture.weights.shape == (4,)
        points = jnp.asarray(samples(5))
        each = [w * multivariate_normal(m, C).pdf(points) for w, m, C in zip(*TRUE, strict=True)]
        np.testing.assert_allclose(jax.vmap(mixture.log_prob)(points), np.log(sum(each)), rtol=1e-10)
        np.testing.assert_allclose(jax.vmap(mixture.responsibilities)(points)[:, :3], (each / sum(each)).T, rtol=1e-9)
        drawn = jax.jit(jax.vmap(lambda key: mixture.sample(key=key)))(jr.split(jr.key(0), 20_000))
        np.testing.assert_allclose(drawn.mean(0), mixture.mean, atol=0.06)
        np.testing.assert_allclose(np.cov(drawn.T), mixture.cov, atol=0.15)
        np.testing.assert_allclose(mixture.std**2, jnp.diagonal(mixture.cov), rtol=1e-12)


def test_the_conditional_equals_numerical_marginalization():
    """p(y | z) = p(z, y) / integral of p(z, y) dy, and its moments, by quadrature; z [2], y [1]."""
    with jax.enable_x64(True):
        density = lambda p: sum(  # noqa: E731
            w * multivariate_normal(m, C).pdf(p) for w, m, C in zip(*TRUE, strict=True)
        )
        conditional = GaussianMixture.of(TRUE).conditional(2)
        assert isinstance(conditional, ContinuousConditional)
        for z in np.array([[0.5, 0.5], [2.0, 1.5], [-1.5, 0.7]]):
            moments, _ = quad_vec(lambda y, z=z: density(np.array([*z, y])) * y ** np.arange(3), -15, 15, epsabs=1e-12)
            total, first, second = moments
            y = conditional(jnp.asarray(z))
            assert float(y.log_prob(jnp.array([0.4]))) == pytest.approx(np.log(density([*z, 0.4]) / total), abs=1e-8)
            np.testing.assert_allclose(y.mean, first / total, rtol=1e-8)
            np.testing.assert_allclose(y.cov, second / total - (first / total) ** 2, rtol=1e-7)
        single = GaussianMixture.of(TRUE, jnp.float32).conditional(2)
        z = jnp.array([0.5, 0.5])
        np.testing.assert_allclose(single(z.astype(jnp.float32)).mean, conditional(z).mean, atol=1e-5)


def test_the_prior_weighs_components_by_responsibilities():
    """Levine & Abbeel (2014), section 3, in NumPy."""
    with jax.enable_x64(True):
        mixture = GaussianMixture.of(TRUE.padded())
        points = samples(6, seed=7).reshape(3, 2, D)  # 3 rollouts of 2 steps
        prior = jax.vmap(lambda p: mixture.prior(p, strength=2.0), 1)(jnp.asarray(points))
        assert isinstance(prior, NormalInverseWishart)
        for t in range(2):
            weights = expectation(points[:, t], TRUE)[0].mean(0)
            mean = weights @ TRUE.means
            between = TRUE.means - mean
            cov = np.einsum("k,kij->ij", weights, TRUE.covs) + (weights * between.T) @ between
            np.testing.assert_allclose(prior.mean[t], mean, rtol=1e-9)
            np.testing.assert_allclose(prior.scale[t], 2 * cov, rtol=1e-9)
            assert prior.mean_strength[t] == 2 and prior.dof[t] == 2 + D + 1
        expected = jax.tree.map(lambda a: a[0], prior).expected()
        assert isinstance(expected, Gaussian)
        np.testing.assert_allclose(expected.cov, prior.scale[0] / 2, rtol=1e-12)


def piecewise(count, seed=0):
    """y = |z_1| + 0.1 z_2 with little noise, padded."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-2, 2, size=(count + 30, 2))
    y = np.abs(z[:, :1]) + 0.1 * z[:, 1:] + 0.01 * rng.normal(size=(count + 30, 1))
    padding = (np.arange(count + 30) < count)[:, None]
    return jnp.asarray(z * padding, jnp.float32), jnp.asarray(y * padding, jnp.float32), jnp.asarray(count)


def test_a_fit_predicts_a_bent_function():
    z, y, size = piecewise(400)
    model, report = GMM().fit(z, y, size, key=jr.key(0))
    assert report.result == Result.converged and 2 <= report.components <= 10
    assert report.metrics["components"] == report.components and model.rows == 400 and model.F.dtype == jnp.float32
    assert model.F.shape[0] == 1 << (report.components - 1).bit_length()
    predicted = jax.vmap(model)(z[:400])  # a batch of mixtures
    mean, std = predicted.mean, predicted.std
    np.testing.assert_allclose(model(z[7]).mean, mean[7], rtol=1e-5)
    assert np.median(np.abs(mean - y[:400])) < 0.02 and 0.009 < np.median(std) < 0.1
    functions, copies = model.draw_many(7, key=jr.key(1))
    assert copies == 7 and functions.F.shape[0] == 1
    slope = jax.jacfwd(lambda z: model(z).mean)(jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(slope, [[1.0, 0.1]], atol=0.1)


def test_a_fit_is_repeatable_and_padding_does_not_matter():
    z, y, size = piecewise(100)
    first, second = (GMM().fit(a, b, size, key=jr.key(3))[0] for a, b in [(z, y), (z[:100], y[:100])])
    np.testing.assert_array_equal(first.F, second.F)


def test_without_data_and_with_bad_data():
    settings = GMM()
    empty, report = settings.fit(jnp.zeros((8, 2)), jnp.zeros((8, 1)), jnp.asarray(0), key=jr.key(0))
    assert report.result == Result.converged and isinstance(empty, FittedGMM) and empty.rows == 0
    np.testing.assert_allclose(empty(jnp.zeros(2)).std, 1.0)
    bad = jnp.zeros((8, 2)).at[0, 0].set(jnp.nan)
    _, report = settings.fit(bad, jnp.zeros((8, 1)), jnp.asarray(8), key=jr.key(0))
    assert report.result == Result.not_finite
    few, report = settings.fit(jnp.ones((8, 2)), jnp.ones((8, 1)), jnp.asarray(3), key=jr.key(0))
    assert Result(report.result).usable and jnp.isfinite(few(jnp.zeros(2)).mean).all()
    for rows, problem in [(np.zeros((0, 3)), "there are none"), (np.full((4, 3), np.inf), "some are not finite")]:
        with pytest.raises(UsageError, match=problem):
            settings.fit_density(rows, key=jr.key(0))


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_components", 0), ("rows_per_component", 0), ("holdout", 1.0), ("tolerance", 0.0), ("max_rows", 1)],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"GMM.{name}"):
        GMM(**{name: value})
