import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from forethought.core import DiagonalGaussian
from forethought.core.draws import draw_many
from forethought.models.recalibration import LEVELS, Recalibrated, calibration_error, temperatures


def gaussian(n=4000, factor=(1.0, 1.0), seed=0):
    """Residuals of a model whose predicted std is wrong by `factor`, and this std."""
    rng = np.random.default_rng(seed)
    std = rng.uniform(0.1, 3, (n, len(factor)))
    return rng.normal(size=std.shape) * std * np.array(factor), std


def test_a_wrong_scale_is_found_and_corrected():
    residual, std = gaussian(factor=(3.0, 0.4))
    tau = temperatures(residual, std)
    np.testing.assert_allclose(tau, [3.0, 0.4], rtol=0.06)
    fresh, fresh_std = gaussian(factor=(3.0, 0.4), seed=1)
    assert (calibration_error(fresh, fresh_std) > 0.2).all()
    assert (calibration_error(fresh, tau * fresh_std) < 0.02).all()


def test_the_error_is_that_of_the_known_coverage():
    """The coverage of a Gaussian whose std is c times too small is 2 Phi(q / c) - 1."""
    residual, std = gaussian(n=100_000, factor=(2.0,))
    coverage = 2 * norm.cdf(norm.ppf((1 + LEVELS) / 2) / 2) - 1
    np.testing.assert_allclose(calibration_error(residual, std), np.mean(LEVELS - coverage), atol=0.005)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.3, 3), st.integers(0, 100))
def test_a_scale_of_the_std_is_undone(scale, seed):
    residual, std = gaussian(n=300, factor=(1.0,), seed=seed)
    np.testing.assert_allclose(temperatures(residual, scale * std), temperatures(residual, std) / scale, rtol=0.2)
    assert calibration_error(residual, temperatures(residual, scale * std) * scale * std) <= calibration_error(
        residual, scale * std
    )  # the grid contains 1


def test_limits():
    nothing, std = np.zeros((5, 2)), np.ones((5, 2))
    assert temperatures(nothing, std).tolist() == [1, 1]  # exact predictions
    assert temperatures(np.zeros((0, 2)), np.zeros((0, 2))).tolist() == [1, 1]
    assert np.isnan(calibration_error(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    np.testing.assert_allclose(calibration_error(std, 0 * std), 0.5)  # no value is inside any interval
    np.testing.assert_allclose(calibration_error(nothing, std), 0.5)  # all are


class Line(eqx.Module):
    slope: jax.Array

    def __call__(self, z):
        return DiagonalGaussian(self.slope * z, jnp.full(2, 0.1))

    def draw(self, *, key):
        return self


class Lines(eqx.Module):
    """Three lines: an ensemble."""

    slopes: jax.Array

    @property
    def member_count(self):
        return 3

    def __call__(self, z):
        each = self.slopes * z[None]
        return DiagonalGaussian(each.mean(0), jnp.sqrt(0.01 + each.var(0)))

    def draw(self, *, key):
        return Line(self.slopes[jr.randint(key, (), 0, 3)])

    def draw_many(self, count, *, key):
        return Line(self.slopes), count // 3


SLOPES = jnp.array([[1.0, 2.0], [2.0, 2.5], [6.0, 4.0]])
TAU = jnp.array([2.0, 0.5])
Z = jnp.array([1.0, -3.0])


def test_the_predictive_distribution_keeps_its_mean():
    plain, scaled = Lines(SLOPES)(Z), Recalibrated(Lines(SLOPES), TAU)(Z)
    np.testing.assert_array_equal(scaled.mean, plain.mean)
    np.testing.assert_allclose(scaled.std, TAU * plain.std, rtol=1e-6)


@pytest.mark.parametrize("count", [3, 30])
def test_sampled_functions_have_the_scaled_spread(count):
    """Mean and variance of the mixture of all functions are those of the predictive distribution."""
    model = Recalibrated(Lines(SLOPES), TAU)
    functions, copies = draw_many(model, count, key=jr.key(0))
    assert copies == count // 3 and model.member_count == 3
    each = eqx.filter_vmap(lambda f: f(Z))(functions)
    whole = model(Z)
    np.testing.assert_allclose(each.mean.mean(0), whole.mean, rtol=1e-5)
    np.testing.assert_allclose((each.std**2).mean(0) + each.mean.var(0), whole.std**2, rtol=1e-5)
    one = model.draw(key=jr.key(1))
    assert any(np.allclose(one(Z).mean, mean, rtol=1e-5) for mean in each.mean)
    assert one.draw(key=jr.key(2)) is one
