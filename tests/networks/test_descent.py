"""Gradient descent against its closed form on a quadratic."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from forethought.networks.descent import decaying_adam, descend


class Point(eqx.Module):
    place: jnp.ndarray
    steps: int = 0


def quadratic(point, key):
    del key
    return 0.5 * jnp.sum(point.place**2), point.place[0]


def test_plain_gradient_descent_shrinks_a_quadratic_geometrically():
    start = Point(jnp.array([4.0, -2.0]), 7)
    end, losses, recorded = descend(quadratic, start, optimizer=optax.sgd(0.25), keys=jr.split(jr.key(0), 6))
    np.testing.assert_allclose(end.place, 0.75**6 * start.place, rtol=1e-6)
    np.testing.assert_allclose(losses, 10 * 0.75 ** (2 * np.arange(6)), rtol=1e-6)
    np.testing.assert_allclose(recorded, 4 * 0.75 ** np.arange(6), rtol=1e-6)
    assert end.steps == 7  # what is no array of real numbers stays


@pytest.mark.parametrize("decay", [True, False])
def test_the_step_size_goes_to_zero_only_with_decay(decay):
    optimizer = decaying_adam(0.1, 10, decay=decay)
    state, place = optimizer.init(jnp.array(0.0)), jnp.array(0.0)
    for _ in range(11):
        change, state = optimizer.update(jnp.array(1.0), state, place)
    np.testing.assert_allclose(change, 0.0 if decay else -0.1, atol=1e-6)
