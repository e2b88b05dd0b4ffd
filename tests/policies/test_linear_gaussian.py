"""The linear-Gaussian controller: means, samples, limits, and the steps after the last."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Controller, LinearGaussian
from forethought.policies.linear_gaussian import LinearGaussianController

POLICY = LinearGaussian(
    jnp.array([[[1.0, 0.0], [0.0, -2.0]], [[0.5, 0.5], [1.0, 1.0]]]),
    jnp.array([[0.1, 0.2], [3.0, -3.0]]),
    jnp.array([[[0.04, 0.01], [0.01, 0.09]], [[0.0, 0.0], [0.0, 1.0]]]),
)
X = jnp.array([0.5, -0.5])


@eqx.filter_jit
def act(controller, t, key):
    return controller.act(X, t, controller.init(X, key=key), key=key)[0]


@pytest.mark.parametrize(("t", "expected"), [(0, [0.6, 1.2]), (1, [3.0, -3.0]), (7, [3.0, -3.0])])
def test_the_mean_of_each_step_and_its_limits(t, expected):
    controller = LinearGaussianController(POLICY)
    assert isinstance(controller, Controller)
    np.testing.assert_allclose(act(controller, jnp.array(t), jr.key(0)), expected, rtol=1e-6)
    limited = LinearGaussianController(POLICY, Box.symmetric(jnp.array([1.0, 1.5])))
    np.testing.assert_allclose(act(limited, jnp.array(t), jr.key(0)), np.clip(expected, [-1, -1.5], [1, 1.5]))


def test_exploration_samples_the_covariance_even_where_it_is_singular():
    controller = LinearGaussianController(POLICY, explore=True)
    samples = np.asarray(jax.vmap(lambda key: act(controller, jnp.array(0), key))(jr.split(jr.key(1), 4000)))
    np.testing.assert_allclose(samples.mean(0), [0.6, 1.2], atol=0.02)
    np.testing.assert_allclose(np.cov(samples.T), POLICY.cov[0], atol=0.006)
    last = np.asarray(jax.vmap(lambda key: act(controller, jnp.array(1), key))(jr.split(jr.key(2), 100)))
    np.testing.assert_allclose(last[:, 0], 3.0)
    assert last[:, 1].std() > 0.7
