import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from forethought.core import Gaussian, Regression, Result
from forethought.models.gp import sparse
from forethought.models.gp.conditioning import Hyperparameters, exact, kernel
from forethought.models.gp.process import GP, capacity_for

SETTINGS = GP()
drawn = eqx.filter_jit(lambda gp, z: gp.draw(key=jr.key(1))(z).mean)
predict = eqx.filter_jit(lambda gp, zs: jax.vmap(gp)(zs))


def drawn_from_a_gp(n, *, lengthscale=(0.8, 2.0), signal=3.0, noise=0.3, offset=100.0, seed=0):
    """Data whose hyper-parameters are known."""
    random = np.random.default_rng(seed)
    z = random.uniform(-4, 4, (n, len(lengthscale)))
    apart = (z[:, None] - z[None]) / np.array(lengthscale)
    k = signal**2 * np.exp(-0.5 * (apart**2).sum(-1)) + noise**2 * np.eye(n)
    return z, offset + (np.linalg.cholesky(k) @ random.normal(size=(n, 1)))


def fit(z, y, settings=SETTINGS, size=None, previous=None, seed=0):
    z, y = jnp.asarray(z), jnp.asarray(y)
    return settings.fit(z, y, jnp.asarray(len(z) if size is None else size), previous=previous, key=jr.key(seed))


def test_it_is_a_regression():
    assert isinstance(SETTINGS, Regression)


def test_hyper_parameters_are_recovered():
    with jax.enable_x64(True):
        fitted, report = fit(*drawn_from_a_gp(300))
    assert int(report.result) == Result.converged
    np.testing.assert_allclose(fitted.lengthscale[0], [0.8, 2.0], rtol=0.15)
    assert float(fitted.signal[0]) == pytest.approx(3.0, rel=0.3)
    assert float(fitted.noise[0]) == pytest.approx(0.3, rel=0.15)


def test_evidence_is_at_least_scikit_learns():
    for seed in range(3):
        z, y = drawn_from_a_gp(60, seed=seed, offset=0.0)
        _, report = fit(z, y, dataclasses.replace(SETTINGS, centered=False))
        kernel = ConstantKernel(1.0) * RBF(np.ones(2)) + WhiteKernel(0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its search
            reference = GaussianProcessRegressor(kernel, alpha=0.0, n_restarts_optimizer=2, random_state=0).fit(z, y)
        assert report.evidence[0] >= reference.log_marginal_likelihood_value_ - 1e-3


def test_units_do_not_matter():
    """The same data in other units: the same fit in other units."""
    z, y = drawn_from_a_gp(50)
    with jax.enable_x64(True):
        one, report = fit(z, y)
        other, scaled = fit(1e3 * z + 7, 1e-4 * y - 3)
        np.testing.assert_allclose(other.lengthscale, 1e3 * one.lengthscale, rtol=1e-3)
        np.testing.assert_allclose(other.signal, 1e-4 * one.signal, rtol=1e-3)
        at = jnp.array([0.3, -1.0])
        np.testing.assert_allclose(other(1e3 * at + 7).mean, 1e-4 * one(at).mean - 3, rtol=1e-5)
    assert scaled.evidence[0] == pytest.approx(report.evidence[0] + 50 * np.log(1e4), rel=1e-6)


def test_outputs_do_not_influence_each_other():
    z, y = drawn_from_a_gp(40)
    both, _ = fit(z, np.hstack([y, np.sin(z)]))
    alone, _ = fit(z, y, previous=None)
    np.testing.assert_allclose(both.beta[0], alone.beta[0], rtol=1e-3, atol=1e-4)


def test_float64_inside_whatever_the_setting():
    """Fitted without JAX's 64-bit mode, a prediction is that of the fit with it, rounded."""
    z, y = drawn_from_a_gp(100, noise=0.01)
    single, _ = fit(z.astype(np.float32), y.astype(np.float32))
    with jax.enable_x64(True):
        double, _ = fit(z.astype(np.float32).astype(float), y.astype(np.float32).astype(float))
        assert double.beta.dtype == jnp.float64
        reference = predict(double, jnp.asarray(z[:20] + 0.05))
    assert single.beta.dtype == jnp.float32 and not jax.config.jax_enable_x64
    predicted = predict(single, jnp.asarray(z[:20] + 0.05, jnp.float32))
    np.testing.assert_allclose(predicted.mean, reference.mean, atol=2e-3)
    np.testing.assert_allclose(predicted.std, reference.std, rtol=0.05)


def test_padding_changes_nothing():
    z, y = drawn_from_a_gp(40)
    clean, _ = fit(z, y)
    dirty, _ = fit(*(np.pad(a, [(0, 88), (0, 0)], constant_values=1e6) for a in (z, y)), size=40)
    for one, other in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(one, other)


def test_growing_data_compile_seldom():
    traces = []

    @eqx.filter_jit
    def counted(gp, z):
        traces.append(1)
        return gp(z).mean

    z, y = drawn_from_a_gp(120)
    fitted = None
    for n in range(20, 121, 5):
        fitted, _ = fit(z[:n], y[:n], GP(restarts=1, evaluations=5), previous=fitted)
        counted(fitted, jnp.zeros(2))
    assert len(traces) == 5  # 32, 48, 64, 96, 128
    sizes = {0: 32, 32: 32, 33: 48, 97: 128, 128: 128, 129: 160, 200: 224, 257: 320, 500: 512}
    assert {n: capacity_for(n) for n in sizes} == sizes


def test_warm_start_takes_fewer_evaluations():
    z, y = drawn_from_a_gp(100)
    settings = dataclasses.replace(SETTINGS, restarts=1)
    first, cold = fit(z[:90], y[:90], settings)
    _, both = fit(z, y, settings, previous=first)
    _, again = fit(z, y, settings)
    assert both.evaluations[0] - again.evaluations[0] < 0.7 * cold.evaluations[0]
    assert both.evidence[0] >= again.evidence[0] - 1e-6


def test_a_prior_is_no_warm_start():
    z, y = drawn_from_a_gp(30)
    _, with_prior = fit(z, y, previous=SETTINGS.init(2, 1, key=jr.key(0)))
    _, without = fit(z, y)
    np.testing.assert_array_equal(with_prior.evaluations, without.evaluations)


def test_the_prior_predicts_and_is_drawn_from():
    prior = SETTINGS.init(3, 2, key=jr.key(0))
    predicted = predict(prior, jnp.ones((1, 3)))
    np.testing.assert_allclose(predicted.mean, 0)
    np.testing.assert_allclose(predicted.std, np.hypot(1, 0.1), rtol=1e-6)
    assert np.isfinite(drawn(prior, jnp.ones(3))).all()


def test_no_data_and_no_numbers():
    z, y = drawn_from_a_gp(10)
    assert int(fit(z, y, size=0)[0].rows) == 0
    _, report = fit(z, np.where(np.arange(10)[:, None] == 3, np.nan, y))
    assert int(report.result) == Result.not_finite


def test_inducing_inputs_take_over():
    """In place of exact conditioning, where data pass the stated size; the answer barely changes."""
    z, y = drawn_from_a_gp(120)
    dense, full = fit(z, y)
    sparse, report = fit(z, y, GP(max_exact=100, inducing=80))
    assert sparse.z.shape == (80, 2) and dense.z.shape == (128, 2)
    assert report.evidence[0] <= full.evidence[0] + 1e-6
    at = jnp.asarray(z[::7] + 0.1)
    one, other = predict(dense, at), predict(sparse, at)
    np.testing.assert_allclose(one.mean, other.mean, atol=0.3)  # the noise
    np.testing.assert_allclose(one.std, other.std, rtol=0.5)
    assert np.isfinite(drawn(sparse, at[0])).all()


def test_inducing_inputs_of_many_smooth_data():
    """The signal-to-noise ratio is high, C all but singular: where A = C + P P' / noise^2 has no Cholesky factor."""
    random = np.random.default_rng(0)
    z = random.normal(size=(300, 2))
    y = np.sin(z @ [[1.0], [0.5]]) + 0.003 * random.normal(size=(300, 1))
    with jax.enable_x64(True):
        sparse, report = fit(z, y, GP(max_exact=200, inducing=120, restarts=1))
        at = random.normal(size=(50, 2))
        error = np.asarray(predict(sparse, jnp.asarray(at)).mean) - np.sin(at @ [[1.0], [0.5]])
    assert int(report.result) == Result.converged
    assert np.sqrt(np.mean(error**2)) < 0.003
    assert float(sparse.noise[0]) == pytest.approx(0.003, rel=0.15)


def hard_data(seed):
    """Duplicates, constants, huge and tiny scales, hardly any noise, few rows: at random, several at once."""
    random = np.random.default_rng(seed)
    n, d, e = int(random.integers(1, 60)), int(random.integers(1, 6)), 2
    z = random.normal(size=(n, d)) * 10.0 ** random.uniform(-6, 6, d)
    y = np.sin(z @ random.normal(size=(d, e)) / np.abs(z).max()) + random.choice([0, 1e-8, 0.1]) * random.normal(
        size=(n, e)
    )
    if random.random() < 0.5:
        z = z[random.integers(0, n, n)]  # duplicates, whose outputs differ
    if random.random() < 0.3:
        y = y[random.integers(0, n, n)]
    if random.random() < 0.3:
        z[:, 0] = 1e3
    if random.random() < 0.2:
        z[:] = 0.0
    if random.random() < 0.2:
        y[:, 0] = random.choice([0.0, 5.0, -1e9])
    if random.random() < 0.2:
        y[0] *= 1e6  # an outlier
    return z, y * 10.0 ** random.uniform(-9, 9, e)


def assert_survives(seed, settings):
    z, y = hard_data(seed)
    fitted, report = fit(z, y, settings)
    assert int(report.result) in (Result.converged, Result.budget_exhausted) and np.isfinite(report.evidence).all()
    for leaf in jax.tree.leaves(fitted):
        assert np.isfinite(leaf).all()
    at = np.resize(np.concatenate([z, 2 * z + 1]), (64, z.shape[1]))  # one shape, so that few are compiled
    predicted = predict(fitted, at.astype(fitted.z.dtype))
    assert np.isfinite(predicted.mean).all() and np.all(predicted.std > 0) and np.isfinite(predicted.std).all()


HARD = GP(restarts=1, evaluations=60, max_exact=40, inducing=20)


def test_hard_data():
    for seed in range(5):
        assert_survives(seed, HARD)


@pytest.mark.slow
@pytest.mark.parametrize("x64", [False, True])
def test_two_hundred_hard_data_sets(x64):
    with jax.enable_x64(x64):
        for seed in range(200):
            assert_survives(seed, dataclasses.replace(HARD, restarts=2))


@pytest.mark.parametrize("wrong", [{"restarts": 0}, {"inducing": 0}, {"max_lengthscale": 1.0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GP(**wrong)


@pytest.mark.parametrize(
    "settings",
    [GP(restarts=1), GP(max_exact=30, inducing=20, restarts=1), GP(max_exact=30, sparse="recent", restarts=1)],
    ids=["exact", "sparse", "recent"],
)
def test_what_a_checkpoint_rounded_is_renewed_from_the_data(settings):
    """Moments of a posterior in float32 are rounding; from the data they come back."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        z = rng.uniform(-2, 2, (50, 2))
        y = np.column_stack([np.sin(z[:, 0]), z[:, 0] * z[:, 1]]) + 0.003 * rng.normal(size=(50, 2))
        fitted, _ = settings.fit(jnp.asarray(z), jnp.asarray(y), jnp.asarray(50), key=jr.key(0))
        again = settings.renewed(fitted.astype(jnp.float32), z, y)
        p = Gaussian(jnp.array([0.3, -0.5]), 0.01 * jnp.eye(2))
        whole, renewed_moments = (eqx.filter_jit(gp.moments)(p) for gp in (fitted, again))
        np.testing.assert_allclose(renewed_moments.cov, whole.cov, rtol=3e-2, atol=1e-7)  # rounded hyperparameters
        np.testing.assert_allclose(renewed_moments.F, whole.F, rtol=1e-4, atol=1e-5)
        assert again.z.dtype == jnp.float64 and again.z.shape == fitted.z.shape


def test_the_latest_rows_as_inducing_inputs():
    """A function that was another one long ago, elsewhere: hyper-parameters and predictions are of the latest rows."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.uniform(20, 22, (30, 1)), rng.uniform(-2, 2, (40, 1))])
    y = np.where(z > 10, 5 * np.sin(40 * z), np.sin(2 * z)) + 0.01 * rng.normal(size=(70, 1))
    settings = GP(max_exact=40, sparse="recent", restarts=1)
    fitted, report = fit(z, y, settings)
    alone, _ = fit(z[30:], y[30:], dataclasses.replace(settings, centered=False))
    assert int(fitted.rows) == 70 and 5 <= report.centers <= 40 and fitted.z.shape[0] == capacity_for(40)
    at = jnp.linspace(-1.8, 1.8, 20)[:, None]
    for gp in (fitted, alone):
        np.testing.assert_allclose(jax.vmap(gp)(at).mean[:, 0], np.sin(2 * at[:, 0]), atol=0.03)
    assert fitted.noise[0] < 0.05


@pytest.mark.parametrize("rows", [40, 70], ids=["exact", "recent"])
def test_the_reported_evidence_is_that_of_the_dense_formula(rows):
    """In units of y; with `recent` of the latest `max_exact` rows, which the hyperparameters come from."""
    with jax.enable_x64(True):
        z, y = drawn_from_a_gp(rows, signal=3e-3, noise=3e-4)
        fitted, report = fit(z, y, GP(max_exact=40, sparse="recent", restarts=1))
        z, y = z[-40:], y[-40:, 0] - float(fitted.offset[0])
        found = Hyperparameters(np.asarray(fitted.lengthscale[0]), float(fitted.signal[0]), float(fitted.noise[0]))
        cov = kernel(z, z, found) + found.noise**2 * np.eye(40)
    assert report.evidence_rows == 40
    assert report.evidence[0] == pytest.approx(scipy.stats.multivariate_normal(cov=cov).logpdf(y), rel=1e-6)


def test_what_inducing_values_leave_open_of_a_row_is_its_own_noise():
    """Against the dense formula: covariance Q + diag(K - Q) + noise^2 I, Q = P' C^-1 P."""
    rng = np.random.default_rng(1)
    z, hypers = rng.uniform(-3, 3, (25, 1)), Hyperparameters(np.array([0.7]), 1.3, 0.1)
    y, u, at = np.sin(3 * z[:, 0]), z[:8], np.linspace(-3, 3, 13)[:, None]
    found = sparse.sparse_posterior(u, z, y, hypers, independent=True)
    P, there = kernel(u, z, hypers), kernel(u, at, hypers)
    Q = P.T @ np.linalg.solve(kernel(u, u, hypers), P)
    whole = Q + np.diag(hypers.signal**2 - np.diag(Q) + hypers.noise**2)
    cross = there.T @ np.linalg.solve(kernel(u, u, hypers), P)
    np.testing.assert_allclose(there.T @ found.beta, cross @ np.linalg.solve(whole, y), atol=1e-6)
    np.testing.assert_allclose(
        np.sum(there * (found.reduction @ there), 0), np.sum(cross * np.linalg.solve(whole, cross.T).T, 1), atol=1e-6
    )
    all_rows = sparse.sparse_posterior(z, z, y, hypers, independent=True)  # nothing is left open: the exact one
    there = kernel(z, at, hypers)
    np.testing.assert_allclose(there.T @ all_rows.beta, there.T @ exact(z, y, hypers).beta, atol=1e-5)


def test_latest_rows_that_repeat_what_later_ones_say_are_passed_over():
    """Twenty rows at one place, told by one of them; before them a curve, of which the later half is enough."""
    z = np.concatenate([np.linspace(-3, 3, 30), 5 + 1e-3 * np.arange(20)])[:, None]
    hypers = [Hyperparameters(np.array([0.3]), 1.0, 0.05), Hyperparameters(np.array([2.0]), 1.0, 0.3)]
    chosen = sparse.recent_inputs(z, hypers, 16)
    assert chosen.tolist() == sorted(chosen) and len(chosen) == 16
    assert np.sum(chosen >= 30) <= 2 and chosen[-1] == 49
    everything = sparse.recent_inputs(z, hypers, 50)
    C, P = kernel(z[everything], z[everything], hypers[0]), kernel(z[everything], z, hypers[0])
    left_open = 1 - np.sum(P * np.linalg.solve(C, P), 0)
    assert left_open.max() < 0.05**2 * 1.1  # nothing that is left out could say more than the noise hides


def test_as_many_latest_rows_as_there_are():
    z = np.array([[0.0], [0.0], [1.0]])
    assert sparse.recent_inputs(z, [Hyperparameters(np.array([0.5]), 1.0, 1e-3)], 10).tolist() == [1, 2]
    assert sparse.recent_inputs(z, [Hyperparameters(np.array([0.5]), 1.0, 9.0)], 10).tolist() == [
        2
    ]  # nothing but noise
