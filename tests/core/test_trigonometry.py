import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core.trigonometry import cos, sin

PAIRS = [(sin, np.sin, np.cos), (cos, np.cos, lambda x: -np.sin(x))]


@pytest.mark.parametrize(("f", "exact", "slope"), PAIRS)
def test_values_are_those_of_numpy_in_float64(f, exact, slope, dtype):
    generator = np.random.default_rng(0)
    near = np.concatenate([np.linspace(-7, 7, 20001), np.pi / 2 * np.arange(-40, 41)])
    for x, tolerance in ((near, 2e-7), (generator.uniform(-8000, 8000, 20000), 2e-7)):
        x = jnp.asarray(x, dtype)
        y = jax.jit(f)(x)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, exact(np.asarray(x, float)), atol=tolerance)
        assert np.abs(y).max() <= 1 + 1e-7


@pytest.mark.parametrize(("f", "exact", "slope"), PAIRS)
def test_derivatives(f, exact, slope, dtype):
    x = jnp.linspace(-4, 4, 101, dtype=dtype)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(f)))(x), slope(np.asarray(x, float)), atol=3e-7)
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(jax.grad(f))))(x), -exact(np.asarray(x, float)), atol=3e-7)


@pytest.mark.parametrize("f", [sin, cos])
def test_what_is_not_finite_is_not_a_number(f):
    assert np.isnan(f(jnp.array([jnp.inf, -jnp.inf, jnp.nan], jnp.float32))).all()
