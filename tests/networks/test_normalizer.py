import jax.numpy as jnp
import numpy as np
import pytest

from forethought.networks.normalizer import CONSTANT, Normalizer, mean_and_std


def test_padding_is_ignored_and_constants_keep_their_scale():
    data = jnp.array([[1.0, 5.0], [3.0, 5.0], [999.0, jnp.nan]])
    normalizer = Normalizer.of_inputs(data, jnp.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(normalizer.mean, [2.0, 5.0])
    np.testing.assert_allclose(normalizer.std, [1.0, 1.0])  # the second does not vary
    np.testing.assert_allclose(normalizer(data[1]), [1.0, 0.0])


def test_the_rounding_of_a_mean_is_no_variation():
    """In float32 the mean of 15,000 times -0.275 is wrong in the fifth digit."""
    data = jnp.stack([jnp.full(15000, -0.275), jnp.full(15000, 1234.5678), jnp.arange(15000.0)], axis=1)
    normalizer = Normalizer.of_outputs(data, jnp.ones(15000))
    np.testing.assert_allclose(normalizer.std[:2], CONSTANT * np.abs(data[0, :2]), rtol=1e-6)
    np.testing.assert_array_equal(normalizer.mean[:2], data[0, :2])
    np.testing.assert_allclose(normalizer.std[2], np.arange(15000).std(), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-9, 1e-7, 1e-3, 1.0, 1e6, 1e25])
def test_mean_and_std_in_any_units(scale, dtype):
    data = np.random.default_rng(0).normal([0.0, 3.0], 1.0, (200, 2)) * scale
    mean, std = mean_and_std(jnp.asarray(data, dtype), jnp.ones(200, dtype))
    np.testing.assert_allclose(mean, data.mean(0), rtol=1e-4, atol=1e-6 * scale)
    np.testing.assert_allclose(std, data.std(0), rtol=1e-4)


@pytest.mark.parametrize("value", [1e-9, 1.0, 1e6])
def test_a_variation_within_the_rounding_of_the_magnitude_is_none(value):
    rounding = np.float32(value) * np.finfo(np.float32).eps * np.array([0, 1, -1, 2, 0], np.float32)
    data = jnp.asarray(np.float32(value) + rounding)[:, None]
    assert mean_and_std(data, jnp.ones(5))[1] == 0
    assert mean_and_std(data + jnp.arange(5.0)[:, None] * 1e-4 * value, jnp.ones(5))[1] > 0


def test_what_cancels_up_to_the_rounding_of_float64_is_zero():
    """A coordinate that is zero but for rounding, as simulators of three dimensions leave it in planar motion."""
    data = jnp.asarray(1e-17 * np.random.default_rng(0).normal(size=(50, 1)), jnp.float32)
    assert mean_and_std(data, jnp.ones(50))[1] == 0


def test_what_is_not_finite_is_not_hidden():
    data = jnp.array([[1.0, 2.0], [jnp.nan, 2.0], [3.0, jnp.inf]])
    assert not np.isfinite(mean_and_std(data, jnp.ones(3))[1]).any()


def test_no_rows():
    mean, std = mean_and_std(jnp.ones((4, 2)), jnp.zeros(4))
    assert np.isfinite(mean).all() and (std == 0).all()
