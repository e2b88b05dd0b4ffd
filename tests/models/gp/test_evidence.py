import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from forethought.models.gp import sparse as gp_sparse
from forethought.models.gp.conditioning import exact
from forethought.models.gp.evidence import HyperparameterPenalty, hyperparameters_of, log_evidence


def data(n=40, d=3, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, d))
    return z, np.sin(2 * z[:, 0]) + 0.3 * z[:, 1] + 0.1 * random.normal(size=n)


def thetas(d=3, count=5):
    random = np.random.default_rng(1)
    return [np.append(random.normal(0, 0.5, d + 1), random.normal(-2, 0.5)) for _ in range(count)]


def sklearn_kernel(theta):
    hypers = hyperparameters_of(theta)
    return ConstantKernel(hypers.signal**2) * RBF(hypers.lengthscale) + WhiteKernel(hypers.noise**2)


def by_differences(f, theta, h=1e-6):
    return np.array([(f(theta + h * step)[0] - f(theta - h * step)[0]) / (2 * h) for step in np.eye(len(theta))])


def test_evidence_is_scikit_learns():
    z, y = data()
    for theta in thetas():
        reference = GaussianProcessRegressor(sklearn_kernel(theta), alpha=0.0, optimizer=None).fit(z, y)
        assert log_evidence(theta, z, y)[0] == pytest.approx(reference.log_marginal_likelihood_value_, rel=1e-6)


def test_prediction_is_scikit_learns():
    z, y = data()
    at = np.random.default_rng(2).normal(size=(10, 3))
    theta = thetas()[0]
    reference = GaussianProcessRegressor(sklearn_kernel(theta), alpha=0.0, optimizer=None).fit(z, y)
    mean, std = reference.predict(at, return_std=True)
    hypers = hyperparameters_of(theta)
    one = exact(z, y, hypers)
    row = hypers.signal**2 * np.exp(-0.5 * (((at[:, None] - z[None]) / hypers.lengthscale) ** 2).sum(-1))
    np.testing.assert_allclose(row @ one.beta, mean, rtol=1e-8, atol=1e-8)
    var = hypers.signal**2 + hypers.noise**2 - np.einsum("ai,ij,aj->a", row, one.reduction, row)
    np.testing.assert_allclose(var, std**2, rtol=1e-7)


def test_gradients_are_those_of_differences():
    z, y = data()
    for theta in thetas():
        for f in (
            lambda t: log_evidence(t, z, y),
            lambda t: gp_sparse.evidence_bound(t, z[:10], z, y),
            HyperparameterPenalty(5.0, 3.0, 6),
        ):
            np.testing.assert_allclose(f(theta)[1], by_differences(f, theta), rtol=1e-4, atol=1e-5)


def test_the_penalty_is_negligible_within_its_limits_and_steep_beyond():
    penalty = HyperparameterPenalty(500.0, 100.0)
    assert penalty(np.log([1.0, 10.0, 1.0, 0.01]))[0] < 1e-3
    assert penalty(np.log([1.0, 1.0, 1.0, 1 / 500]))[0] == pytest.approx(1)
    for theta in (np.log([1.0, 300.0, 1.0, 0.1]), np.log([1 / 300, 1.0, 1.0, 0.1]), np.log([1.0, 1.0, 1.0, 1 / 2000])):
        assert penalty(theta)[0] > 100


def test_what_is_not_positive_definite_has_no_evidence():
    z, y = data()
    value, slope = log_evidence(np.log([1e4, 1e4, 1e4, 1e6, 1e-9]), z, y)
    assert value == -np.inf and np.all(slope == 0)


def test_the_bound_is_the_evidence_where_all_data_are_inducing_inputs():
    z, y = data()
    for theta in thetas():
        bound, slope = gp_sparse.evidence_bound(theta, z, z, y)
        value, exact_slope = log_evidence(theta, z, y)
        assert bound == pytest.approx(value, abs=1e-4) and bound <= value
        np.testing.assert_allclose(slope, exact_slope, atol=1e-3)


def test_the_bound_grows_with_the_inducing_inputs():
    z, y = data()
    theta = thetas()[0]
    rows = gp_sparse.greedy_inputs(z, [hyperparameters_of(theta)], 40)
    bounds = [gp_sparse.evidence_bound(theta, z[rows[:m]], z, y)[0] for m in (5, 10, 20, 40)]
    assert bounds == sorted(bounds) and bounds[-1] <= log_evidence(theta, z, y)[0]


def test_the_sparse_posterior_is_exact_where_all_data_are_inducing_inputs():
    z, y = data()
    hypers = hyperparameters_of(thetas()[0])
    dense, sparse = exact(z, y, hypers), gp_sparse.sparse_posterior(z, z, y, hypers)
    np.testing.assert_allclose(sparse.beta, dense.beta, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sparse.reduction, dense.reduction, atol=1e-5 * np.abs(dense.reduction).max())


def test_the_sparse_posterior_is_titsias():
    """Against the formulas of the paper, solved densely."""
    z, y = data()
    hypers, u = hyperparameters_of(thetas()[1]), z[:12]
    k = lambda a, b: (  # noqa: E731
        hypers.signal**2 * np.exp(-0.5 * (((a[:, None] - b[None]) / hypers.lengthscale) ** 2).sum(-1))
    )
    C, P = k(u, u) + gp_sparse.JITTER * hypers.signal**2 * np.eye(12), k(u, z)
    A = C + P @ P.T / hypers.noise**2
    one = gp_sparse.sparse_posterior(u, z, y, hypers)
    np.testing.assert_allclose(one.beta, np.linalg.solve(A, P @ y) / hypers.noise**2, rtol=1e-6, atol=1e-8)
    difference = np.linalg.inv(C) - np.linalg.inv(A)
    np.testing.assert_allclose(one.reduction, difference, atol=1e-7 * np.abs(difference).max())
    # What samples are made of: R - R C R, the covariance that the values at u add.
    noise = one.root.T @ np.diag(one.unexplained**2) @ one.root
    expected = one.reduction - one.reduction @ C @ one.reduction
    np.testing.assert_allclose(noise, expected, atol=1e-7 * np.abs(expected).max())


def test_inducing_inputs_do_not_repeat():
    z = np.repeat(np.linspace(0, 1, 7)[:, None], 3, axis=0)
    rows = gp_sparse.greedy_inputs(z, [hyperparameters_of(np.log([0.3, 1.0, 0.1]))], 21)
    assert len(np.unique(z[rows])) == len(rows) <= 7
