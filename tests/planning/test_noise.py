import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.special
import scipy.stats

from forethought.planning import noise
from forethought.planning.noise import _normal_quantile, color_filter, quick_normal, quick_split, quick_uniform


@pytest.mark.parametrize("beta", [0.0, 1.0, 3.0])
def test_colored_noise(beta):
    matrix = color_filter(64, beta)
    covariance = matrix @ matrix.T
    np.testing.assert_allclose(np.diag(covariance), 1.0, rtol=1e-10)
    spectrum = np.abs(np.fft.fft(matrix[:, 0])) ** 2
    slope = np.polyfit(np.log(np.arange(1, 32)), np.log(spectrum[1:32]), 1)[0]
    assert slope == pytest.approx(-beta, abs=1e-6)


def test_quantiles_are_those_of_scipy():
    s = np.linspace(-1 + 1e-6, 1 - 1e-6, 10001).astype(np.float32)
    expected = scipy.special.ndtri((s.astype(float) + 1) / 2)
    np.testing.assert_allclose(_normal_quantile(jnp.asarray(s)), expected, atol=2e-6)


def test_quick_numbers_are_normal_and_independent():
    streams = np.stack([quick_normal((4000,), jnp.float32, key=jr.key(i)) for i in range(50)]).astype(float)
    p_values = [scipy.stats.kstest(stream, "norm").pvalue for stream in streams]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 0.01
    among_keys = np.corrcoef(streams)[np.triu_indices(50, 1)] * np.sqrt(4000)
    assert np.abs(among_keys).max() < 4.5 and np.std(among_keys) == pytest.approx(1, abs=0.1)
    together = streams.reshape(-1)
    for lag in (1, 2, 16, 4000):
        assert abs(np.corrcoef(together[:-lag], together[lag:])[0, 1]) < 4 / np.sqrt(together.size)
    assert scipy.stats.kurtosis(together) == pytest.approx(0, abs=0.05)


def test_quick_numbers_are_a_function_of_the_key_and_finite(dtype):
    draw = lambda seed: np.asarray(quick_normal((30, 1000, 2), dtype, key=jr.key(seed)))  # noqa: E731
    assert draw(0).dtype == dtype and draw(0).shape == (30, 1000, 2)
    np.testing.assert_array_equal(draw(0), draw(0))
    assert not np.array_equal(draw(0), draw(1))
    assert np.isfinite(draw(2)).all()
    ends = _normal_quantile(jnp.array([-(1 - 2.0**-23), 1 - 2.0**-23], jnp.float32))
    np.testing.assert_allclose(ends, [-5.294704, 5.294704], rtol=1e-4)


def test_numbers_made_row_by_row_are_those_made_at_once(monkeypatch):
    monkeypatch.setattr(noise, "LONG_ROW", 601)
    at_once = quick_normal((4, 300, 2), jnp.float32, key=jr.key(0))
    monkeypatch.setattr(noise, "LONG_ROW", 600)
    by_rows = quick_normal((4, 300, 2), jnp.float32, key=jr.key(0))
    np.testing.assert_allclose(by_rows, at_once, rtol=1e-6)
    assert quick_normal((3,), jnp.float32, key=jr.key(0)).shape == (3,)


def test_truncated_numbers_are_those_of_scipy(dtype):
    numbers = np.asarray(quick_normal((20_000,), dtype, key=jr.key(0), bound=2.0))
    assert np.abs(numbers).max() <= 2.0
    assert scipy.stats.kstest(numbers, scipy.stats.truncnorm(-2, 2).cdf).pvalue > 0.01


def test_uniform_numbers_fill_the_interval(dtype):
    numbers = np.asarray(quick_uniform((20_000,), dtype, key=jr.key(1)))
    assert np.abs(numbers).max() < 1
    assert scipy.stats.kstest(numbers, scipy.stats.uniform(-1, 2).cdf).pvalue > 0.01


def test_split_keys_are_distinct_and_their_numbers_independent():
    keys = quick_split(jr.key(5), 200)
    assert keys.shape == (200,) and keys.dtype == jr.key(5).dtype
    assert len(np.unique(np.asarray(jr.key_data(keys)), axis=0)) == 200
    numbers = np.asarray(jax.vmap(lambda key: quick_normal((2000,), jnp.float32, key=key))(keys[:40]), float)
    correlations = np.corrcoef(numbers)[np.triu_indices(40, 1)] * np.sqrt(2000)
    assert np.abs(correlations).max() < 4.5 and np.std(correlations) == pytest.approx(1, abs=0.1)
    grandchildren = quick_split(quick_split(jr.key(5), 2)[1], 2)
    assert not np.any(np.all(np.asarray(jr.key_data(keys))[:, None] == np.asarray(jr.key_data(grandchildren)), axis=2))
