"""A student of an ensemble: its two variances, its sampled functions, and the loss against references."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Conditional, DiagonalGaussian
from forethought.core.draws import HasDrawMany, over_draws
from forethought.models.distilled import DistilledModel, DistilledNetwork, decompose, divergence
from forethought.models.ensemble import FittedEnsemble
from forethought.models.network import Network
from forethought.networks.gaussian_mlp import GaussianMLP
from forethought.networks.normalizer import Normalizer


def small_ensemble(members=4):
    """Random networks whose disagreement depends on the input."""

    def network(key):
        scales = Normalizer(jnp.array([0.5, -1.0]), jnp.array([2.0, 0.5]))
        return Network(GaussianMLP.init(2, 2, hidden=(8,), key=key), Normalizer.identity(2), scales)

    networks = eqx.filter_vmap(network)(jr.split(jr.key(0), members))
    larger = eqx.tree_at(lambda n: n.layers.weights, networks, [2 * w for w in networks.layers.weights])
    return FittedEnsemble(larger, jnp.int32(10))


TEACHER = small_ensemble()
Z = jr.uniform(jr.key(1), (512, 2), minval=-2.0, maxval=2.0)
HOW = DistilledModel(hidden=(32,), updates=3000, batch=64, learning_rate=5e-3)


@pytest.fixture(scope="module")
def fitted():
    return HOW.fit(HOW.init(2, 2, key=jr.key(2)), TEACHER, Z, 512, key=jr.key(3))


def test_the_decomposition_adds_up_to_the_variance_of_the_ensemble():
    told = decompose(TEACHER, Z[:20], draws=1, key=jr.key(0))
    mixture = jax.vmap(TEACHER)(Z[:20])
    np.testing.assert_allclose(told.mean, mixture.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(told.aleatoric + told.epistemic, mixture.std**2, rtol=1e-5)
    single = decompose(TEACHER.draw(key=jr.key(0)), Z[:20], draws=3, key=jr.key(0))
    np.testing.assert_allclose(single.epistemic, 0, atol=1e-12)


def test_the_loss_is_the_sum_of_two_gaussian_divergences():
    def kl(m, s, mu, sigma):  # variances
        return 0.5 * (s / sigma + (m - mu) ** 2 / sigma - 1 - np.log(s / sigma))

    m, a, s, mu, alpha, sigma = jnp.asarray(np.random.default_rng(0).uniform(0.2, 2, (6, 3)), jnp.float32)
    loss, error = divergence((mu, jnp.log(alpha), jnp.log(sigma)), (m, a, s))
    np.testing.assert_allclose(loss, np.mean(kl(m, s, mu, sigma) + kl(0, a, 0, alpha)), rtol=1e-5)
    np.testing.assert_allclose(error, np.mean((m - mu) ** 2), rtol=1e-5)
    best, _ = divergence((mu, jnp.log(a), jnp.log(s + (m - mu) ** 2)), (m, a, s))  # the optimum for a given mean
    for factor in (0.9, 1.1):
        assert divergence((mu, jnp.log(a), jnp.log(factor * (s + (m - mu) ** 2))), (m, a, s))[0] > best


def test_a_student_has_the_mean_and_both_variances_of_its_teacher(fitted):
    student, report = fitted
    told, learned = decompose(TEACHER, Z, draws=1, key=jr.key(0)), jax.vmap(student.decomposed)(Z)
    spread = jnp.std(told.mean, axis=0)
    assert float(jnp.max(jnp.sqrt(jnp.mean((learned.mean - told.mean) ** 2, axis=0)) / spread)) < 0.1
    for name in ("aleatoric", "epistemic"):
        truth, found = (jnp.log(getattr(one, name)).ravel() for one in (told, learned))
        assert np.corrcoef(truth, found)[0, 1] > 0.8
    # epistemic variance may only gain the student's own error
    assert 0.7 < float(jnp.median(learned.aleatoric / told.aleatoric)) < 1.4
    assert 0.7 < float(jnp.median(learned.epistemic / told.epistemic)) < 2.0
    assert float(report.last) < 0.2 * float(report.first) and set(report.metrics) == {
        "distillation_loss",
        "distillation_error",
    }


def test_draws_are_epistemic_and_samples_are_aleatoric(fitted):
    student, _ = fitted
    assert isinstance(student, Conditional) and isinstance(student, HasDrawMany)
    z = Z[0]
    told = student.decomposed(z)
    drawn = eqx.filter_jit(jax.vmap(lambda key: student.draw(key=key)(z)))(jr.split(jr.key(4), 4000))
    np.testing.assert_allclose(jnp.mean(drawn.mean, axis=0), told.mean, atol=4 * np.sqrt(told.epistemic.max() / 4000))
    np.testing.assert_allclose(jnp.var(drawn.mean, axis=0), told.epistemic, rtol=0.1)
    np.testing.assert_allclose(drawn.std**2, jnp.broadcast_to(told.aleatoric, drawn.std.shape), rtol=1e-4)
    np.testing.assert_allclose(student(z).std ** 2, told.aleatoric + told.epistemic, rtol=1e-5)
    function = student.draw(key=jr.key(5))
    assert function.draw(key=jr.key(6)) is function
    gaps = [(function(z).mean - student(z).mean) / jnp.sqrt(student.decomposed(z).epistemic) for z in Z[:3]]
    np.testing.assert_allclose(gaps[0], gaps[1], rtol=1e-3)
    np.testing.assert_allclose(gaps[0], gaps[2], rtol=1e-3)


def test_many_draws_are_stratified_and_each_is_a_draw(fitted):
    student, _ = fitted
    functions, copies = student.draw_many(8, key=jr.key(0))
    assert copies == 1 and functions.eps.shape == (8, 2)
    counts = np.sort(np.floor(8 * jax.scipy.stats.norm.cdf(functions.eps)), axis=0)
    np.testing.assert_array_equal(counts, np.arange(8)[:, None] * np.ones(2))
    one = np.array([student.draw_many(2, key=jr.key(i))[0].eps[0, 0] for i in range(200)])
    assert abs(one.mean()) < 0.2 and 0.8 < one.std() < 1.2
    alone, _ = student.draw_many(1, key=jr.key(0))
    np.testing.assert_array_equal(alone.eps, np.zeros((1, 2)))  # a plan with one particle follows the mean
    rows = over_draws(lambda f, z: f(z).mean, student, Z[:8], key=jr.key(1))
    assert rows.shape == (8, 2)


def test_padding_and_a_coordinate_that_never_varies_do_no_harm():
    class Half(eqx.Module):
        std: jnp.ndarray

        def __call__(self, z):
            return DiagonalGaussian(jnp.stack([z[0], jnp.float32(3.0)]), self.std)

        def draw(self, *, key):
            return self

    z = Z.at[256:].set(jnp.nan)
    how = DistilledModel(hidden=(8,), updates=200, batch=32, draws=2)
    student, report = how.fit(
        how.init(2, 2, key=jr.key(0)), Half(jnp.array([0.1, 1e-6])), jnp.where(jnp.isnan(z), 1e3, z), 256, key=jr.key(0)
    )
    assert np.isfinite(float(report.last))
    np.testing.assert_allclose(student(Z[0]).mean[1], 3.0, atol=1e-3)
    assert float(student(Z[0]).std[0]) < 1.0


def test_layers_are_those_of_the_settings_and_settings_are_checked():
    assert [w.shape for w in DistilledModel().init(3, 2, like=(5,), key=jr.key(0)).layers.weights] == [(3, 5), (5, 6)]
    assert isinstance(DistilledModel(hidden=(4,)).init(3, 2, key=jr.key(0)), DistilledNetwork)
    for wrong in ({"updates": 0}, {"hidden": ()}, {"hidden": (0,)}, {"learning_rate": -1.0}):
        with pytest.raises(ValueError, match=f"DistilledModel.{next(iter(wrong))}"):
            DistilledModel(**wrong)
