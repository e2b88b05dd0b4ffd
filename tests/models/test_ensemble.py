import dataclasses
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Result, draw_many
from forethought.models import ensemble as ensemble_module
from forethought.models.ensemble import Ensemble, FittedEnsemble, held_out, training_loss
from forethought.networks.gaussian_mlp import GaussianMLP, negative_log_likelihood

SMALL = Ensemble(members=4, hidden=(32, 32), max_epochs=60, patience=20, batch=16)
FEW = Ensemble(members=2, hidden=(8,), max_epochs=5, batch=4)


def noisy_sine(n, capacity, *, key, garbage=0.0):
    """y = sin(3 z) with noise of std 0.05 left of zero and 0.4 right of it; and y2 = 2 z exactly."""
    z_key, noise_key = jr.split(key)
    z = jr.uniform(z_key, (capacity, 1), minval=-1.0, maxval=1.0)
    std = jnp.where(z < 0, 0.05, 0.4)
    y = jnp.concatenate([jnp.sin(3 * z) + std * jr.normal(noise_key, z.shape), 2 * z], axis=1)
    padding = (jnp.arange(capacity) >= n)[:, None]
    return jnp.where(padding, garbage, z), jnp.where(padding, garbage, y), jnp.array(n)


def test_what_never_moved_is_predicted_to_stay():
    """A goal that no action moves: no step of its own, no noise, and no harm where the state leaves it by a little."""
    z = jr.normal(jr.key(0), (256, 2)).at[:, 1].set(-0.275)
    y = jnp.stack([0.1 * z[:, 0], jnp.zeros(256)], axis=1)
    fitted, _ = SMALL.fit(z, y, jnp.array(256), key=jr.key(1))
    for offset in (0.0, 1e-4):
        predicted = fitted(jnp.array([0.3, -0.275 + offset]))
        assert abs(predicted.mean[1]) < 1e-5 and predicted.std[1] < 1e-5
        assert predicted.mean[0] == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize("size", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["rows differ", "rows equal"])
def test_hardly_any_rows_give_finite_predictions(size, kind):
    z, y, _ = noisy_sine(8, 8, key=jr.key(0))
    if kind == "rows equal":
        z, y = jnp.broadcast_to(z[:1], z.shape), jnp.broadcast_to(y[:1], y.shape)
    fitted, report = FEW.fit(z, y, jnp.array(size), key=jr.key(1))
    assert int(report.result) == Result.converged and np.isfinite(report.holdout_error).all()
    predicted = fitted(z[0])
    assert np.isfinite(predicted.mean).all() and np.isfinite(predicted.std).all()
    if size and kind == "rows equal":
        np.testing.assert_allclose(predicted.mean, y[0], rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-9, 1e-7, 1.0, 1e6])
def test_data_of_any_magnitude_are_learned(scale):
    """The same data in other units: R2 of the mean of the linear output."""
    z, y, size = noisy_sine(200, 256, key=jr.key(0))
    fitted, _ = SMALL.fit(scale * z, scale * y, size, key=jr.key(1))
    truth, guess = y[:200, 1], jax.jit(jax.vmap(fitted))(scale * z[:200]).mean[:, 1] / scale
    assert np.var(truth - guess) < 0.02 * np.var(truth)


def test_training_loss_is_the_likelihood_and_both_penalties():
    layers, key = GaussianMLP.init(2, 3, hidden=(8,), key=jr.key(0)), jr.key(1)
    layers = eqx.tree_at(lambda m: m.max_log_var, layers, jnp.array([1.0, 2.0, 6.0]))
    z, y = jr.normal(key, (4, 2)), jr.normal(key, (4, 3))
    loss, likelihood = training_loss(Ensemble(weight_decay=0.1), layers, z, y)
    assert likelihood == pytest.approx(
        np.mean([float(negative_log_likelihood(layers, *row)) for row in zip(z, y, strict=True)]), rel=1e-5
    )
    weights = sum(float(jnp.sum(w**2)) for w in layers.weights)
    width = float(jnp.mean(layers.max_log_var - layers.min_log_var))
    assert loss == pytest.approx(float(likelihood) + 0.01 * width + 0.1 * 0.5 * weights, rel=1e-5)


def test_a_member_stops_after_patience_epochs_without_progress():
    """Outputs are noise, so there is soon no progress; the rule of 1% is that of Janner et al. (2019)."""
    patience, (z, y) = 3, jr.normal(jr.key(0), (2, 64, 1))
    _, report = dataclasses.replace(SMALL, patience=patience).fit(z, y, jnp.array(64), key=jr.key(1))
    for epochs, losses in zip(report.epochs, np.asarray(report.holdout_loss), strict=True):
        best, stale, expected = np.inf, 0, 0
        while stale < patience and expected < SMALL.max_epochs:
            loss = losses[expected]
            stale = 0 if loss < best - 0.01 * abs(best) or np.isinf(best) else stale + 1
            best, expected = min(best, loss), expected + 1
        assert epochs == expected < SMALL.max_epochs


def test_fit_finds_function_and_noise():
    z, y, size = noisy_sine(1500, 2048, key=jr.key(0))
    fitted, report = SMALL.fit(z, y, size, key=jr.key(1))
    assert int(report.result) == Result.converged
    for where, std in ((-0.5, 0.05), (0.3, 0.4)):  # where the noise of these data is about even
        predicted = fitted(jnp.array([where]))
        assert predicted.mean[0] == pytest.approx(np.sin(3 * where), abs=0.05 + 0.25 * std)  # the noise limits it
        assert predicted.std[0] == pytest.approx(std, rel=0.5)
        assert predicted.mean[1] == pytest.approx(2 * where, abs=0.05)
    for epochs, losses in zip(report.epochs, report.train_loss, strict=True):
        assert np.isfinite(losses[:epochs]).all() and np.isnan(losses[epochs:]).all()
        assert losses[epochs - 1] < losses[0]
    assert report.last_loss < report.train_loss[:, 0].mean()


def test_members_disagree_where_there_is_no_data():
    z, y, size = noisy_sine(200, 256, key=jr.key(0))
    fitted, _ = SMALL.fit(z, y, size, key=jr.key(1))
    spread = lambda at: np.std(eqx.filter_vmap(lambda f: f(jnp.array([at])).mean[0])(fitted.networks))  # noqa: E731
    assert spread(4.0) > 4 * spread(-0.3)


def test_padding_does_not_matter():
    clean = SMALL.fit(*noisy_sine(100, 256, key=jr.key(0)), key=jr.key(1))
    dirty = SMALL.fit(*noisy_sine(100, 256, key=jr.key(0), garbage=1e6), key=jr.key(1))
    for a, b in zip(jax.tree.leaves(clean), jax.tree.leaves(dirty), strict=True):
        np.testing.assert_array_equal(a, b)


def test_growing_data_compile_once_per_capacity(monkeypatch):
    traces = []
    original = negative_log_likelihood
    monkeypatch.setattr(ensemble_module, "negative_log_likelihood", lambda *a: traces.append(1) or original(*a))
    settings = Ensemble(members=2, hidden=(7,), max_epochs=2)  # settings of its own: nothing compiled before
    fitted = None
    for n in (10, 20, 30):
        fitted, _ = settings.fit(*noisy_sine(n, 32, key=jr.key(0)), previous=fitted, key=jr.key(1))
    assert len(traces) == 1
    settings.fit(*noisy_sine(40, 64, key=jr.key(0)), previous=fitted, key=jr.key(1))
    assert len(traces) == 2


@pytest.mark.parametrize(("members", "programs"), [(4, 1), (3, 2)])
def test_halves_of_equal_size_are_compiled_once(members, programs, monkeypatch):
    compiled = []

    def compile_slowly(lowered):
        compiled.append(1)
        time.sleep(0.05)  # so that both threads would be compiling at a time
        return original(lowered)

    original = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", compile_slowly)
    settings = Ensemble(members=members, hidden=(5,), max_epochs=1)  # settings of its own: nothing compiled before
    settings.fit(*noisy_sine(10, 16, key=jr.key(0)), key=jr.key(1))
    assert len(compiled) == programs


def test_fresh_and_fitted_ensembles_share_a_compilation(monkeypatch):
    traces = []
    original = negative_log_likelihood
    monkeypatch.setattr(ensemble_module, "negative_log_likelihood", lambda *a: traces.append(1) or original(*a))
    settings = Ensemble(members=2, hidden=(9,), max_epochs=2)  # settings of its own: nothing compiled before
    data = noisy_sine(10, 32, key=jr.key(0))
    fitted, _ = settings.fit(*data, previous=settings.init(1, 2, key=jr.key(1)), key=jr.key(2))
    settings.fit(*data, previous=fitted, key=jr.key(3))
    assert len(traces) == 1


def test_warm_start_begins_where_the_last_fit_ended():
    data = noisy_sine(200, 256, key=jr.key(0))
    first, report = SMALL.fit(*data, key=jr.key(1))
    _, again = SMALL.fit(*data, previous=first, key=jr.key(2))
    assert again.train_loss[:, 0].mean() < 0.5 * report.train_loss[:, 0].mean() + 0.5 * report.last_loss


def test_held_out_rows_are_spread_and_stay_held_out():
    for share in (0.1, 0.3):
        rows = np.asarray(held_out(4096, share))
        assert rows.mean() == pytest.approx(share, abs=0.01)
        assert rows[:50].any()
        np.testing.assert_array_equal(rows[:256], held_out(256, share))
    assert not np.asarray(held_out(256, 0.0)).any()


def test_no_member_ever_sees_a_held_out_row():
    """Held-out rows with absurd targets must not change the weights."""
    z, y, size = noisy_sine(100, 128, key=jr.key(0))
    absurd = jnp.where(held_out(128, 0.1)[:, None], 1e4, y)
    settings = Ensemble(members=2, hidden=(8,), max_epochs=1, patience=1)
    one, other = (settings.fit(z, targets, size, key=jr.key(1))[0] for targets in (y, absurd))
    np.testing.assert_array_equal(one.networks.layers.weights[0], other.networks.layers.weights[0])


def test_mixture_moments():
    fitted = SMALL.init(2, 2, key=jr.key(0))
    z = jnp.array([0.5, -0.5])
    each = eqx.filter_vmap(lambda f: f(z))(fitted.networks)
    mixed = fitted(z)
    np.testing.assert_allclose(mixed.mean, np.mean(each.mean, 0), rtol=1e-5)
    second_moment = np.mean(each.std**2 + each.mean**2, 0)
    np.testing.assert_allclose(mixed.std**2, second_moment - np.mean(each.mean, 0) ** 2, rtol=1e-4)


def test_draws_are_members_and_come_grouped():
    fitted = SMALL.init(2, 1, key=jr.key(0))
    z = jnp.ones(2)
    means = {float(eqx.filter_vmap(lambda f: f(z))(fitted.networks).mean[i, 0]) for i in range(4)}
    drawn = {round(float(fitted.draw(key=jr.key(i))(z).mean[0]), 5) for i in range(40)}
    assert drawn == {round(mean, 5) for mean in means}
    assert draw_many(fitted, 12, key=jr.key(0))[1] == 3
    with pytest.raises(ValueError, match="multiple of the ensemble's members"):
        fitted.draw_many(10, key=jr.key(0))


def test_diverging_fit_is_reported():
    z, y, size = noisy_sine(100, 128, key=jr.key(0))
    _, report = SMALL.fit(z, y.at[3, 0].set(jnp.nan), size, key=jr.key(1))
    assert int(report.result) == Result.not_finite


@pytest.mark.parametrize(
    "wrong", [{"members": 0}, {"hidden": ()}, {"holdout": 1.0}, {"learning_rate": 0.0}, {"batch": 0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=f"Ensemble.{next(iter(wrong))}"):
        Ensemble(**wrong)


def test_ensemble_is_a_value():
    assert isinstance(SMALL.init(1, 1, key=jr.key(0)), FittedEnsemble)
    assert hash(SMALL) == hash(Ensemble(members=4, hidden=(32, 32), max_epochs=60, patience=20, batch=16))
