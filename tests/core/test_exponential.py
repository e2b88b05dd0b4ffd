"""The exponential against numbers of higher precision, at its edges, and under differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core.exponential import exp


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("compiled", [False, True])
def test_exponentials_are_right_to_the_last_digits(compiled):
    x = np.concatenate([np.linspace(-708, 709, 20001), np.linspace(-1, 1, 2001), [0.0, -0.0, 1e-300, -1e-17]])
    exact = np.exp(x.astype(np.longdouble))
    found = np.asarray((jax.jit(exp) if compiled else exp)(jnp.asarray(x)))
    assert np.max(np.abs(found / exact - 1)) < 5e-16
    np.testing.assert_array_equal(exp(jnp.zeros(3)), 1.0)


def test_beyond_what_doubles_hold_it_stays_at_the_edge():
    low, high, nothing = exp(jnp.array([-1e9, 1e9, np.nan]))
    assert 0 < low < 1e-307 and 1e307 < high < np.inf and np.isnan(nothing)
    low, high = exp(jnp.array([-np.inf, np.inf]))
    assert 0 < low < 1e-307 and 1e307 < high < np.inf


def test_derivatives_of_any_order_are_itself():
    for f in (jax.grad(exp), jax.grad(jax.grad(exp)), jax.jacfwd(exp)):
        np.testing.assert_allclose(f(jnp.array(1.3)), np.exp(1.3), rtol=1e-15)


def test_other_dtypes_take_jax_s_own():
    x = jnp.linspace(-5, 5, 11, dtype=jnp.float32)
    np.testing.assert_array_equal(exp(x), jnp.exp(x))
