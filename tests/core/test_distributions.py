"""Distributions against SciPy, and the protocols that all of them meet."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from forethought.core import Categorical, Continuous, Delta, DiagonalGaussian, Distribution, Gaussian, HasMode

LOGITS = jnp.array([0.3, -1.0, 2.0, 0.0])
GAUSSIANS = {
    "full": Gaussian(jnp.array([1.0, -2.0]), jnp.array([[2.0, 0.3], [0.3, 0.5]])),
    "diagonal": DiagonalGaussian(jnp.array([1.0, -2.0]), jnp.array([1.5, 0.5])),
}


@pytest.mark.parametrize(
    "p", [*GAUSSIANS.values(), Delta(jnp.ones(2)), Categorical(LOGITS)], ids=lambda p: type(p).__name__
)
def test_protocols(p):
    assert isinstance(p, Distribution) and isinstance(p, HasMode)
    assert isinstance(p, Continuous) == (not isinstance(p, Categorical))
    draw = p.sample(key=jr.key(0))
    assert draw.shape == p.mode.shape and draw.dtype == p.mode.dtype and p.log_prob(draw).shape == ()
    assert p.log_prob(p.mode) >= p.log_prob(draw)


def test_categorical_equals_scipy(dtype):
    p = Categorical(LOGITS.astype(dtype))
    reference = np.exp(LOGITS) / np.exp(LOGITS).sum()
    np.testing.assert_allclose(p.probs, reference, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(p.log_prob)(jnp.arange(4)), np.log(reference), rtol=1e-5)
    np.testing.assert_allclose(p.entropy(), scipy.stats.entropy(reference), rtol=1e-6)
    assert int(p.mode) == 2 and p.log_prob(jnp.array(0)).dtype == dtype
    assert p.log_prob(jnp.array(4)) == p.log_prob(jnp.array(-1)) == -jnp.inf


def test_categorical_samples_have_its_probabilities():
    p = Categorical(LOGITS)
    draws = jax.jit(jax.vmap(lambda k: p.sample(key=k)))(jr.split(jr.key(0), 20_000))
    counts, probs = np.bincount(draws, minlength=4), np.asarray(p.probs, float)
    assert scipy.stats.chisquare(counts, 20_000 * probs / probs.sum()).pvalue > 1e-3


def test_an_excluded_integer_is_never_drawn_and_spoils_nothing():
    p = Categorical(jnp.array([0.0, -jnp.inf, 0.0]))
    draws = jax.vmap(lambda k: p.sample(key=k))(jr.split(jr.key(0), 200))
    assert set(np.asarray(draws).tolist()) == {0, 2}
    np.testing.assert_allclose(p.entropy(), np.log(2), rtol=1e-6)
    assert p.log_prob(jnp.array(1)) == -jnp.inf
    assert jnp.isfinite(jax.grad(lambda logits: Categorical(logits).entropy())(p.logits)).all()


def test_an_even_categorical_has_the_largest_entropy():
    np.testing.assert_allclose(Categorical(jnp.full(8, 3.0)).entropy(), np.log(8), rtol=1e-6)
    assert Categorical(LOGITS).entropy() < np.log(4)


@pytest.mark.parametrize("p", GAUSSIANS.values(), ids=GAUSSIANS)
def test_densities_and_entropies_of_gaussians(p):
    reference = scipy.stats.multivariate_normal(np.asarray(p.mean, float), np.asarray(p.cov, float))
    x = np.array([0.4, -1.3])
    np.testing.assert_allclose(p.log_prob(jnp.asarray(x, jnp.float32)), reference.logpdf(x), rtol=1e-5)
    np.testing.assert_allclose(p.entropy(), reference.entropy(), rtol=1e-5)


def test_certainty_is_the_limit_of_a_gaussian():
    p = Delta(jnp.array([1.0, 2.0]))
    assert p.log_prob(p.mean) == 0 and p.log_prob(p.mean + jnp.array([0.0, 1e-3])) == -jnp.inf
    assert (jax.grad(p.log_prob)(p.mean) == 0).all()
    narrow = DiagonalGaussian(p.mean, jnp.full(2, 1e-6))
    assert narrow.log_prob(p.mean + 1e-3) < -1e5
