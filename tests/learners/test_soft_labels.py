"""Losses of soft labels against references and limits, and students that are fitted to them."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import entropy

from forethought.core import Categorical, NumericalFailure, UsageError
from forethought.learners.soft_labels import LOSSES, SoftLabels, kl_loss, mse_loss, nll_loss
from forethought.models.categorical import CategoricalNetwork
from forethought.networks.normalizer import Normalizer

Z, V = jnp.array([0.3, -1.0, 2.0, 0.1]), jnp.array([1.5, 0.2, -0.7, 0.0])
QUICK = SoftLabels(updates=400, batch=32, learning_rate=1e-2)


@pytest.mark.parametrize("T", [0.5, 1.0, 3.0])
def test_kl_is_the_divergence_of_the_tempered_distributions(T):
    reference = T**2 * entropy(softmax(np.asarray(V) / T), softmax(np.asarray(Z) / T))
    np.testing.assert_allclose(kl_loss(Z, V, T), reference, rtol=1e-5)
    gradient = jax.grad(kl_loss)(Z, V, T)  # Hinton et al., equation 2, times T^2
    np.testing.assert_allclose(gradient, T * (softmax(np.asarray(Z) / T) - softmax(np.asarray(V) / T)), atol=1e-5)


def test_the_limit_of_a_high_temperature_is_the_squared_error_of_centered_logits(dtype):
    z, v = Z.astype(dtype), V.astype(dtype)
    np.testing.assert_allclose(kl_loss(z, v, 50.0), mse_loss(z, v), rtol=0.03)
    np.testing.assert_allclose(mse_loss(z + 5, v), mse_loss(z, v), rtol=1e-4)


def test_nll_is_the_cross_entropy_of_the_choice():
    np.testing.assert_allclose(nll_loss(Z, V), -np.log(softmax(np.asarray(Z))[0]), rtol=1e-5)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_equal_logits_have_no_loss_and_no_gradient(loss):
    value, gradient = jax.value_and_grad(LOSSES[loss])(V, V + 3.0)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_a_class_that_the_teacher_excludes_costs_nothing():
    v = jnp.array([0.0, -jnp.inf, 0.0])
    value, gradient = jax.value_and_grad(kl_loss)(jnp.array([1.0, -30.0, 1.0]), v)
    np.testing.assert_allclose(value, 0, atol=1e-6)
    assert np.isfinite(gradient).all()


def new_student(n=3, key=None):
    key = jr.key(0) if key is None else key
    return CategoricalNetwork.init(Normalizer.identity(2), n, hidden=(16,), key=key)


xs = jr.normal(jr.key(1), (256, 2))
teacher = jnp.stack([xs[:, 0], xs[:, 1], -xs[:, 0] - xs[:, 1]], axis=1)
probs = eqx.filter_jit(lambda student: jax.vmap(lambda x: student(x).probs)(xs))


def test_a_student_learns_the_distribution_and_not_only_the_choice():
    start = new_student()
    soft, report = QUICK.fit(start, xs, teacher, 256, key=jr.key(2))
    hard, _ = dataclasses.replace(QUICK, loss="nll").fit(start, xs, teacher, 256, key=jr.key(2))
    truth = jax.nn.softmax(teacher)
    gap = lambda student: float(jnp.mean(jnp.abs(probs(student) - truth)))  # noqa: E731
    assert gap(soft) < 0.02 < 0.15 < gap(hard)
    assert float(report.last) < 0.1 * float(report.first) and report.metrics["disagreement"] < 0.05


def test_labels_alone_train_a_classifier_and_padding_is_not_seen():
    labels = jnp.argmax(teacher, axis=1).at[128:].set(0)
    how = dataclasses.replace(QUICK, label_weight=1.0)
    student, _ = how.fit(new_student(), xs, jnp.zeros_like(teacher), 128, labels=labels, key=jr.key(2))
    assert float(jnp.mean(jnp.argmax(probs(student), axis=1) == jnp.argmax(teacher, axis=1))) > 0.9


def test_many_students_are_those_that_are_fitted_alone():
    keys = jr.split(jr.key(5), 2)
    starts = eqx.filter_vmap(lambda key: new_student(key=key))(keys)
    many, reports = QUICK.fit_many(starts, xs, teacher, 256, keys=keys)
    alone, _ = QUICK.fit(new_student(key=keys[1]), xs, teacher, 256, key=keys[1])
    np.testing.assert_allclose(many.network.weights[0][1], alone.network.weights[0], atol=1e-3)
    assert reports.last.shape == (2,)


TRACES = []


class Counting(eqx.Module):
    """Counts how often it is traced; inputs are dictionaries."""

    scale: jnp.ndarray

    def __call__(self, x):
        TRACES.append(1)
        return Categorical(self.scale * x["features"])

    def draw(self, *, key):
        return self


def test_another_temperature_compiles_nothing():
    how, rows = SoftLabels(updates=2, batch=4), {"features": teacher}
    student = Counting(jnp.ones(3))
    how.fit(student, rows, teacher, 256, key=jr.key(0))
    before = len(TRACES)
    for T in (2.0, 3.0):
        dataclasses.replace(how, temperature=T).fit(student, rows, teacher, 200, key=jr.key(0))
    assert len(TRACES) <= before + 2  # at most one for each check of the shapes, none for a compilation


def test_wrong_settings_and_data_are_refused():
    for wrong in ({"temperature": 0.0}, {"label_weight": 1.5}, {"updates": 0}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match=f"SoftLabels.{next(iter(wrong))}"):
            SoftLabels(**wrong)
    with pytest.raises(UsageError, match="among 4 classes, the teacher among 3.*a head for each teacher"):
        QUICK.fit(new_student(4), xs, teacher, 256, key=jr.key(0))
    with pytest.raises(UsageError, match="no labels are given"):
        SoftLabels(label_weight=0.5).fit(new_student(), xs, teacher, 256, key=jr.key(0))
    with pytest.raises(NumericalFailure, match="lower the learning rate"):
        QUICK.fit(new_student(), xs, teacher * jnp.nan, 256, key=jr.key(0))
