"""What PILCO's policy search starts from."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.pilco_candidates import candidates, feature_scale, random_function, recentered
from forethought.algorithms.pilco_settings import PolicySettings
from forethought.core import Box, Gaussian
from forethought.dynamics.space import StateSpace
from forethought.policies.squashed import Affine, SquashedPolicy

SPACE = StateSpace(2, angles=(1,))
SETTINGS = PolicySettings(basis_functions=5)
KEYS = list(jr.split(jr.key(7), 2))


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def a_policy(settings=SETTINGS):
    features = np.random.default_rng(0).normal(size=(9, 3))
    function = random_function(settings, features, 1, key=jr.key(0))
    return SquashedPolicy(function, Box.symmetric(jnp.array([2.0])), jnp.array([2.0, 0.5, 0.5]), SPACE)


def visited(steps=12):
    """States that move away from the first policy's centers."""
    mean = jnp.stack([jnp.linspace(0, 20, steps), jnp.linspace(0, 3, steps)], 1)
    return jax.vmap(Gaussian)(mean, jnp.broadcast_to(1e-6 * jnp.eye(2), (steps, 2, 2)))


def test_the_unit_of_sine_and_cosine_does_not_depend_on_how_little_of_the_circle_was_seen():
    """A pole that hardly swung: its cosine is -1, spread 1e-3, and a center there would be at -1,000 of its units."""
    angle = jnp.linspace(-0.05, 0.05, 50)
    features = np.asarray(jax.vmap(SPACE.features)(jnp.stack([40 * angle, jnp.pi + angle], 1)))
    np.testing.assert_allclose(feature_scale(features, SPACE), [np.std(40 * angle), *[0.5**0.5] * 2], 1e-4)
    np.testing.assert_allclose(feature_scale(features, StateSpace(3)), np.std(features, 0), atol=2e-6)


def test_centers_move_to_the_predicted_states_and_the_values_there_are_kept():
    last = a_policy()
    moved = recentered(last, visited(), key=jr.key(1))
    np.testing.assert_array_equal(moved.log_lengthscale, last.function.log_lengthscale)
    expected = np.asarray(jax.vmap(SPACE.features)(visited().mean) / last.scale[None])
    for center, target in zip(moved.centers, moved.targets, strict=True):
        assert np.min(np.linalg.norm(expected - np.asarray(center), axis=1)) < 0.02
        np.testing.assert_allclose(target, last.function.prepared()(center).mean, atol=1e-9)
    assert moved.centers.shape == last.function.centers.shape


def found(last, *, optimized, restarts=2, recenterings=1, settings=SETTINGS, states=None):
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(40, 2)))
    keys = KEYS[:restarts], KEYS[:recenterings]
    return candidates(settings, last, xs, states, *keys, optimized=optimized), xs


def test_an_optimized_policy_competes_with_copies_and_random_functions():
    last = a_policy()
    (policy, functions, first), xs = found(last, optimized=True, states=visited())
    assert first == 0 and len(functions) == 4 and functions[0] is last.function
    np.testing.assert_array_equal(functions[1].centers, recentered(last, visited(), key=KEYS[0]).centers)
    np.testing.assert_array_equal(policy.scale, last.scale)
    features = np.asarray(jax.vmap(SPACE.features)(xs)) / np.asarray(last.scale)
    for function in functions[2:]:  # centers near what was seen, in the units of the features
        distance = np.linalg.norm(features[None] - np.asarray(function.centers)[:, None], axis=-1)
        assert distance.min(axis=1).max() < 0.6
    assert not np.array_equal(functions[2].centers, functions[3].centers)


def test_a_random_policy_is_replaced_and_the_data_set_the_units():
    (policy, functions, first), xs = found(a_policy(), optimized=False)
    assert first == 1 and len(functions) == 2
    np.testing.assert_allclose(policy.scale, feature_scale(np.asarray(jax.vmap(SPACE.features)(xs)), SPACE))


def test_a_random_policy_is_searched_from_if_there_is_no_other():
    last = a_policy()
    (_, functions, first), _ = found(last, optimized=False, restarts=0)
    assert first == 0 and len(functions) == 1
    np.testing.assert_array_equal(functions[0].centers, last.function.centers)


def test_a_linear_policy_has_no_centers_to_move():
    settings = PolicySettings("linear")
    (_, functions, _), _ = found(a_policy(settings), optimized=True, settings=settings, states=visited())
    assert len(functions) == 3 and all(isinstance(one, Affine) for one in functions)
