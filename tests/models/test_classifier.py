import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.models.classifier import Classifier, explain


def test_rare_class_is_found():
    """2% of the states lie outside |z0| < 0.9; padding holds garbage."""
    z = jr.uniform(jr.key(0), (2048, 3), minval=-0.95, maxval=0.95)
    label = jnp.abs(z[:, 0]) > 0.9
    z = z.at[1500:].set(1e6)
    fitted, report = Classifier().fit(
        z, label, jnp.array(1500), previous=Classifier().init(3, key=jr.key(1)), key=jr.key(2)
    )
    assert report.error < 0.1
    fresh = jr.uniform(jr.key(3), (1000, 3), minval=-1.0, maxval=1.0)
    says = np.asarray(jax.vmap(fitted)(fresh).mean[:, 0] > 0)
    assert np.mean(says == (np.abs(fresh[:, 0]) > 0.9)) > 0.94


def fit(z, label, d=3):
    fitter = Classifier()
    return fitter.fit(
        jnp.asarray(z, jnp.float32),
        jnp.asarray(label),
        jnp.array(len(z)),
        previous=fitter.init(d, key=jr.key(1)),
        key=jr.key(2),
    )


def test_limits_are_found_from_a_handful_of_ends():
    """|z1| < 0.2 ends episodes; the velocity z2 goes with it but does not explain every end."""
    generator = np.random.default_rng(0)
    alive = generator.uniform([-1, -0.19, -2], [1, 0.19, 2], (60, 3))
    ends = np.array([[0.3, 0.22, 2.5], [-0.5, 0.21, 1.5], [0.1, 0.23, 0.2], [0.9, -0.24, -1.0], [0.2, -0.21, -2.1]])
    fitted, report = fit(np.vstack([alive, ends]), np.arange(65) >= 60)
    assert report.error == 0 and fitted.limited
    assert (
        np.isfinite(fitted.limits.upper).tolist() == np.isfinite(fitted.limits.lower).tolist() == [False, True, False]
    )
    for state, terminal in (([5, 0.3, 0], True), ([-5, -0.3, 9], True), ([5, 0.1, -9], False), ([0, -0.15, 9], False)):
        assert (fitted(jnp.array(state, jnp.float32)).mean[0] > 0) == terminal


def test_limits_are_midway_between_the_last_state_alive_and_the_first_end():
    """Coordinate 1 ends episodes above 3 and below -1; values in the units of the standardized data, hence exact."""
    z = jnp.array([[0.0, 0.0], [1.0, 2.0], [0.5, -0.5], [0.5, 4.0], [0.5, 6.0], [0.5, -1.5]])
    ends = jnp.arange(6) >= 3
    limits, explained = explain(z, ends, ~ends)
    assert explained
    np.testing.assert_allclose(limits.upper, [np.inf, 3.0])
    np.testing.assert_allclose(limits.lower, [-np.inf, -1.0])


def test_sides_that_explain_equally_many_ends_are_all_believed():
    fitted, _ = fit([[0, 0, 0], [0.1, 0.1, 0], [1, 1, 0]], [False, False, True])
    assert np.isfinite(fitted.limits.upper).tolist() == [True, True, False]
    assert np.isinf(fitted.limits.lower).all()


def test_ends_that_no_limits_explain_are_left_to_the_network():
    """A ring: ends lie in the middle."""
    z = np.random.default_rng(1).uniform(-1, 1, (500, 2))
    label = np.hypot(*z.T) < 0.5
    fitted, report = fit(z, label, 2)
    assert not fitted.limited and report.error < 0.1
    assert fitted(jnp.zeros(2)).mean[0] > 0 > fitted(jnp.array([0.9, 0.9])).mean[0]
