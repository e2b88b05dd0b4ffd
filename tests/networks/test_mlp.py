import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.signal import correlate2d

from forethought.core import Observations, UsageError
from forethought.networks.build import network_for
from forethought.networks.convolution import Convolution, channels_last, convolved, to_channels_last
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import MLP, orthogonal, uniform
from forethought.networks.running_moments import RunningMoments


def test_an_mlp_is_affine_layers_with_activations_between():
    network = MLP.init(3, 2, hidden=(5, 4), activation=jnp.tanh, key=jr.key(0))
    x = np.array([0.3, -1.0, 2.0], np.float32)
    h = x
    for weight, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        h = np.tanh(h @ np.asarray(weight) + np.asarray(bias))
    expected = h @ np.asarray(network.weights[-1]) + np.asarray(network.biases[-1])
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-5)
    rescaled = network.rescaled(jnp.asarray(2.0), jnp.asarray(0.5))
    np.testing.assert_allclose(rescaled(jnp.asarray(x)), 2 * expected + 0.5, rtol=1e-5)


def test_initial_weights():
    weight = orthogonal(0.5)(jr.key(0), (6, 4))
    np.testing.assert_allclose(weight.T @ weight, 0.25 * np.eye(4), atol=1e-6)
    drawn = uniform(jr.key(1), (100, 50))
    assert 0.09 < float(jnp.max(jnp.abs(drawn))) <= 0.1


def test_a_convolution_against_scipy():
    network = Convolution.init((6, 5, 2), 3, key=jr.key(0))
    image = np.asarray(jr.normal(jr.key(1), (6, 5, 2)))
    kernel, bias = np.asarray(network.kernels[0]), np.asarray(network.biases[0])
    maps = [sum(correlate2d(image[..., c], kernel[..., c, o], mode="valid") for c in range(2)) for o in range(16)]
    features = np.maximum(np.stack(maps, axis=-1) + bias, 0)
    np.testing.assert_allclose(network(jnp.asarray(image)), network.head(jnp.asarray(features.ravel())), atol=1e-5)


def test_strided_convolutions_and_their_gradients_against_xla():
    image, kernel = jr.normal(jr.key(0), (11, 9, 3)), jr.normal(jr.key(1), (4, 4, 3, 5))

    def reference(image, kernel):
        axes = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(image[None], kernel, (2, 2), "VALID", dimension_numbers=axes)[0]

    np.testing.assert_allclose(convolved(image, kernel, 2), reference(image, kernel), atol=1e-4)
    ours, theirs = (
        jax.grad(lambda *inputs, f=f: jnp.sum(f(*inputs) ** 2), argnums=(0, 1))(image, kernel)
        for f in (lambda image, kernel: convolved(image, kernel, 2), reference)
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_axes_of_images():
    assert channels_last((84, 84)) == (84, 84, 1)
    assert channels_last((4, 84, 84)) == (84, 84, 4) and channels_last((10, 10, 4)) == (10, 10, 4)
    stack = jnp.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(to_channels_last(stack)[1, 2], stack[:, 1, 2])
    assert Convolution.init((4, 36, 36), 2, key=jr.key(0)).strides == (4, 2, 1)
    assert Convolution.init((4, 36, 36), 2, convolutions="medium", key=jr.key(0)).strides == (4, 2)
    with pytest.raises(ValueError, match="1 x 1 pixels are left for a kernel of 4 x 4"):
        Convolution.init((10, 10, 4), 2, convolutions="medium", key=jr.key(0))


def test_running_moments_equal_those_of_all_data():
    data = np.asarray(3 + 2 * jr.normal(jr.key(0), (60, 2)), np.float64)
    moments = RunningMoments.init(2)
    for part in np.split(data, [10, 15, 40]):
        moments = moments.update(jnp.asarray(part))
    np.testing.assert_allclose(moments.mean, data.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.var, data.var(0), rtol=1e-5)
    recent = moments.update(jnp.full((30, 2), 7.0), most=30.0)
    np.testing.assert_allclose(recent.mean, (data.mean(0) + 7) / 2, rtol=1e-5)


def test_what_a_network_sees():
    angle = Inputs.of(Observations((3,), angles=(1,)), normalize=False)
    seen = angle(jnp.array([2.0, jnp.pi / 6, -1.0]))
    np.testing.assert_allclose(seen, [2, -1, 0.5, np.sqrt(3) / 2], rtol=1e-6)
    turned = angle(jnp.array([2.0, jnp.pi / 6 + 2 * jnp.pi, -1.0]))
    np.testing.assert_allclose(seen, turned, atol=1e-5)
    one_hot = Inputs.of(Observations((2,), "int32", (2, 3)), normalize=True)
    np.testing.assert_array_equal(one_hot(jnp.array([1, 0])), [0, 1, 1, 0, 0])
    pixels = Inputs.of(Observations((3, 3), "uint8"), normalize=True)
    np.testing.assert_allclose(pixels(jnp.full((3, 3), 51, jnp.uint8)), 0.2, rtol=1e-6)


def test_observations_are_standardized_by_what_was_seen():
    inputs = Inputs.of(Observations((2,)), normalize=True)
    xs = 5 + 3 * jr.normal(jr.key(0), (500, 2))
    seen = jax.vmap(inputs.seen(xs))(xs)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(seen.std(0), 1, rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 2, 3), (2, 8, 8, 3)])
def test_what_is_no_image_is_refused(shape):
    inputs = Inputs.of(Observations(shape, "uint8"), normalize=False)
    with pytest.raises(UsageError, match="PPO.*FlattenObservation"):
        network_for(inputs, 2, hidden=(8,), activation=jnp.tanh, who="PPO", key=jr.key(0))
