import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from forethought.networks.gaussian_mlp import GaussianMLP, negative_log_likelihood


def test_likelihood_is_the_normal_density():
    network = GaussianMLP.init(2, 3, hidden=(8,), key=jr.key(0))
    z, y = jnp.array([0.3, -1.0]), jnp.array([0.1, 0.2, -2.0])
    mean, log_var = network(z)
    expected = -scipy.stats.norm.logpdf(y, mean, np.exp(0.5 * log_var)).mean() - 0.5 * np.log(2 * np.pi)
    assert negative_log_likelihood(network, z, y) == pytest.approx(expected, rel=1e-5)


def test_log_variance_stays_within_its_limits():
    network = GaussianMLP.init(1, 2, hidden=(8,), key=jr.key(0))
    network = eqx.tree_at(lambda m: m.weights[-1], network, 1e3 * jnp.ones_like(network.weights[-1]))
    for z in (-5.0, 5.0):
        log_var = network(jnp.array([z]))[1]
        assert jnp.all(log_var <= network.max_log_var + 1e-4) and jnp.all(log_var >= network.min_log_var - 1e-4)


def test_penalized_quantities_are_sums_over_the_weights_and_a_mean_over_the_outputs():
    network = GaussianMLP.init(2, 3, hidden=(8, 5), key=jr.key(0))
    network = eqx.tree_at(lambda m: m.max_log_var, network, jnp.array([1.0, 2.0, 6.0]))
    assert network.limits_gap() == pytest.approx(3.0 + 10.0)
    assert network.squared_weights() == pytest.approx(
        0.5 * sum(float(jnp.sum(w**2)) for w in network.weights), rel=1e-6
    )
