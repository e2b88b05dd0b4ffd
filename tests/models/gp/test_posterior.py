import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import draw_many
from forethought.models.gp.conditioning import condition
from forethought.models.gp.posterior import _waves

LENGTHSCALE = np.array([[0.7, 1.5], [0.4, 3.0]])
SIGNAL, NOISE, OFFSET = np.array([1.3, 20.0]), np.array([0.1, 0.5]), np.array([0.2, -5.0])

predict = eqx.filter_jit(lambda gp, zs: jax.vmap(gp)(zs))
joint_of = eqx.filter_jit(lambda gp, zs: gp.joint(zs))


@eqx.filter_jit
def values_of_draws(gp, zs, count):
    functions, copies = draw_many(gp, count, key=jr.key(0))
    assert copies == 1
    return eqx.filter_vmap(lambda f: jax.vmap(f)(zs).mean)(functions)


def data(n=12, seed=0):
    random = np.random.default_rng(seed)
    z = random.uniform(-2, 2, (n, 2))
    return z, np.stack([np.sin(z[:, 0]), 20 * np.cos(2 * z[:, 1])], 1) + 0.1 * random.normal(size=(n, 2))


def fitted(dtype, n=12, capacity=None, noise=NOISE):
    z, y = data(n)
    more = (capacity or n) - n
    z, y = (jnp.asarray(np.pad(a, [(0, more), (0, 0)], constant_values=7.0), dtype) for a in (z, y))
    return condition(z, y, n, lengthscale=LENGTHSCALE, signal=SIGNAL, noise=noise, offset=OFFSET, features=64)


def dense(zs, k, n=12, noise=NOISE):
    """Mean and covariance of output k at zs, by the textbook's formulas."""
    z, y = data(n)
    kernel = lambda a, b: (  # noqa: E731
        SIGNAL[k] ** 2 * np.exp(-0.5 * (((a[:, None] - b[None]) / LENGTHSCALE[k]) ** 2).sum(-1))
    )
    gain = np.linalg.solve(kernel(z, z) + noise[k] ** 2 * np.eye(n), kernel(z, zs)).T
    return OFFSET[k] + gain @ (y[:, k] - OFFSET[k]), kernel(zs, zs) - gain @ kernel(z, zs)


AT = np.array([[0.1, -0.3], [1.0, 1.0], [5.0, -5.0]])


def test_prediction_is_the_textbooks(dtype):
    gp = fitted(dtype)
    predicted = predict(gp, jnp.asarray(AT, dtype))
    assert predicted.mean.dtype == dtype
    tolerance = 1e-9 if dtype == jnp.float64 else 1e-4
    for k in range(2):
        mean, cov = dense(AT, k)
        np.testing.assert_allclose(predicted.mean[:, k], mean, rtol=tolerance, atol=tolerance * SIGNAL[k])
        expected = np.sqrt(np.diag(cov) + NOISE[k] ** 2)
        np.testing.assert_allclose(predicted.std[:, k], expected, rtol=tolerance, atol=tolerance * SIGNAL[k])


def test_joint_is_the_textbooks(dtype):
    joint = joint_of(fitted(dtype), jnp.asarray(AT, dtype))
    tolerance = 1e-9 if dtype == jnp.float64 else 1e-4
    for k in range(2):
        mean, cov = dense(AT, k)
        np.testing.assert_allclose(joint.mean[k], mean, rtol=tolerance, atol=tolerance * SIGNAL[k])
        np.testing.assert_allclose(joint.cov[k], cov, atol=tolerance * SIGNAL[k] ** 2)


def test_fields_mean_what_they_say():
    with jax.enable_x64(True):
        gp = fitted(jnp.float64, capacity=16)
        z = jnp.asarray(AT[0])
        predicted = predict(gp, z[None])
        for k in range(2):
            apart = ((AT[0] - np.asarray(gp.z)) / LENGTHSCALE[k]) ** 2
            row = SIGNAL[k] ** 2 * np.exp(-0.5 * apart.sum(-1))
            assert gp.offset[k] + row @ gp.beta[k] == pytest.approx(float(predicted.mean[0, k]), rel=1e-10)
            var = gp.signal[k] ** 2 - row @ gp.reduction[k] @ row + gp.noise[k] ** 2
            assert var == pytest.approx(float(predicted.std[0, k]) ** 2, rel=1e-8)


def test_padding_changes_nothing(dtype):
    clean, padded = fitted(dtype), fitted(dtype, capacity=20)
    for field in ("beta", "reduction"):
        tail = getattr(padded, field)[:, 12:]
        np.testing.assert_array_equal(tail, 0)
    one, other = (predict(gp, jnp.asarray(AT, dtype)) for gp in (clean, padded))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-5)
    np.testing.assert_allclose(one.std, other.std, rtol=1e-5)


def test_far_from_data_the_prior_is_back(dtype):
    far = predict(fitted(dtype), jnp.full((1, 2), 100.0, dtype))
    np.testing.assert_allclose(far.mean[0], OFFSET, rtol=1e-6)
    np.testing.assert_allclose(far.std[0], np.hypot(SIGNAL, NOISE), rtol=1e-6)


@pytest.mark.parametrize("noise", [NOISE, SIGNAL], ids=["little noise", "much"])
def test_sampled_functions_have_the_joints_moments(noise):
    """Each draw has frequencies of its own, so that over many draws both moments are exact, however few features."""
    gp, count = fitted(jnp.float32, noise=noise), 1000
    zs = np.concatenate([AT, data()[0][:2]])  # at two of the data too: there the noise matters
    values = values_of_draws(gp, jnp.asarray(zs, jnp.float32), count)
    for k in range(2):
        mean, cov = dense(zs, k, noise=noise)
        error = np.abs(np.mean(values[:, :, k], axis=0) - mean)
        assert np.all(error < 4.5 * np.sqrt(np.diag(cov) / count))
        np.testing.assert_allclose(np.cov(values[:, :, k].T), cov, atol=0.12 * SIGNAL[k] ** 2)
        at_data = np.var(values[:, 3:, k], axis=0)
        np.testing.assert_allclose(at_data, np.diag(cov)[3:], rtol=0.25)


def test_a_draw_is_one_function_with_noise_only():
    function = eqx.filter_jit(lambda gp: gp.draw(key=jr.key(3)))(fitted(jnp.float32))
    assert function.draw(key=jr.key(4)) is function
    np.testing.assert_allclose(predict(function, jnp.asarray(AT)).std[0], NOISE, rtol=1e-6)


def test_astype():
    with jax.enable_x64(True):
        gp = fitted(jnp.float64)
        single = gp.astype(jnp.float32)
        assert single.beta.dtype == single.z.dtype == jnp.float32 and single.rows.dtype == gp.rows.dtype
        zs = jnp.asarray(AT)
        np.testing.assert_allclose(predict(single, zs.astype(jnp.float32)).mean, predict(gp, zs).mean, rtol=1e-4)


def test_the_waves_are_cosines_and_sines(dtype):
    frequencies, weights = np.array([[[0.3], [2.0]]]), np.array([[[1.0, 0.5], [-2.0, 0.1]]])
    at = np.linspace(-5, 5, 400)
    phase = 2 * np.pi * at[:, None] * frequencies[0, :, 0]
    expected = np.cos(phase) @ weights[0, 0] + np.sin(phase) @ weights[0, 1]
    waves = jax.vmap(_waves, (0, None, None))(*(jnp.asarray(a, dtype) for a in (at[:, None], frequencies, weights)))
    np.testing.assert_allclose(waves[:, 0], expected, atol=1e-9 if dtype == jnp.float64 else 3e-5)
