"""Diagnostics against systems whose errors and coverage are known in closed form."""

import statistics

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import DiagonalGaussian, Problem, UsageError
from forethought.dynamics.space import StateSpace
from forethought.report.diagnostics import LEVELS, advance, examine, windows
from tests.report.fakes import Linear, Members, episodes_of, oscillator, task

SPACE = StateSpace(2)
KEY = jr.key(7)


def evaluate(model, episodes, *, space=SPACE, horizon=5, **options):
    return examine(Problem(model, task()), space, episodes, key=KEY, horizon=horizon, **options)


def test_error_of_a_biased_model_is_the_accumulated_bias():
    offset = (0.02, -0.01)
    episodes = episodes_of(oscillator())
    error, _ = evaluate(oscillator(offset=offset), episodes)
    A, b = np.asarray(oscillator().A), np.array(offset)
    gap = np.cumsum([np.linalg.matrix_power(A, i) @ b for i in range(5)], axis=0)
    np.testing.assert_allclose(error.per_coordinate, np.abs(gap), rtol=1e-3)
    scale = np.std(np.concatenate([e.x_next for e in episodes]), axis=0)
    expected = np.sqrt(np.mean((gap / scale) ** 2, axis=1))
    for measured in (error.rmse, error.low, error.median, error.high, error.particle_rmse):
        np.testing.assert_allclose(measured, expected, rtol=2e-3)
    np.testing.assert_allclose(error.spread, 0, atol=1e-6)


def test_baseline_is_the_distance_from_the_start():
    episodes = episodes_of(oscillator(), count=4, steps=32)
    error, _ = evaluate(oscillator(), episodes)
    scale = np.std(np.concatenate([e.x_next for e in episodes]), axis=0)
    for h in range(1, 6):
        moved = np.concatenate([e.x_next[h - 1 :] - e.x[: 32 - h + 1] for e in episodes]) / scale
        assert error.unchanged[h - 1] == pytest.approx(np.sqrt(np.mean(moved**2)), rel=1e-3)
        assert error.count[h - 1] == 4 * (32 - h + 1)


@pytest.mark.parametrize("step", [1, 5])
def test_a_true_model_is_calibrated_and_predicts_its_error(step):
    system = oscillator(std=0.1)
    error, calibration = evaluate(system, episodes_of(system, count=20), starts=700)
    # 700 overlapping starts give at least 140 independent ones: standard error below 0.043 at level 0.5
    np.testing.assert_allclose(calibration.pooled(step), LEVELS, atol=0.08)
    assert calibration.error(step) < 0.05
    assert error.spread[step - 1] == pytest.approx(error.particle_rmse[step - 1], rel=0.1)


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_coverage_of_a_model_that_states_too_little_or_too_much_noise(factor):
    episodes = episodes_of(oscillator(std=0.1), count=20)
    _, calibration = evaluate(oscillator(std=0.1 / factor), episodes, starts=700)
    normal = statistics.NormalDist()
    expected = [2 * normal.cdf(normal.inv_cdf((1 + level) / 2) / factor) - 1 for level in LEVELS]
    np.testing.assert_allclose(calibration.pooled(1), expected, atol=0.05)
    assert (calibration.bias(1) < 0) == (factor > 1)
    assert calibration.error(1) == pytest.approx(np.mean(np.abs(LEVELS - expected)), abs=0.03)


def test_a_deterministic_exact_model_is_calibrated():
    spinning = Linear(jnp.diag(jnp.array([-1.0, 1.0])), jnp.zeros((2, 1)), jnp.zeros(2), jnp.zeros(2))
    _, calibration = evaluate(spinning, episodes_of(spinning, count=20), starts=700)
    assert calibration.error(2) < 0.06


def test_spread_is_the_disagreement_of_members():
    offsets = jnp.array([[-0.1, 0.0], [0.1, 0.0], [0.0, 0.0]])
    episodes = episodes_of(oscillator())
    error, _ = evaluate(Members(oscillator(), offsets), episodes)
    scale = np.std(np.concatenate([e.x_next for e in episodes]), axis=0)
    assert error.spread[0] == pytest.approx(np.std([-0.1, 0.1, 0.0]) / scale[0] / np.sqrt(2), rel=1e-3)
    assert error.particle_rmse[0] == pytest.approx(0, abs=1e-5)


def test_particles_keep_their_member():
    offsets = jnp.array([[-0.1, 0.0], [0.1, 0.0]])
    cloud = jnp.zeros((2, 3, 1, 2))
    functions, _ = Members(oscillator(), offsets).draw_many(6, key=KEY)
    for _ in range(2):
        cloud = advance(functions, cloud, jnp.zeros((1, 1)), jnp.zeros(1, int), key=KEY)
    np.testing.assert_allclose(cloud[1] - cloud[0], np.broadcast_to([0.4, -0.02], (3, 1, 2)), rtol=0.02, atol=0.03)


def test_angles_are_compared_around_the_circle():
    turning = Linear(jnp.eye(1), jnp.zeros((1, 1)), jnp.array([0.5]), jnp.zeros(1))
    (episode,) = episodes_of(turning, count=1, steps=50)
    wrap = lambda a: (a + np.pi) % (2 * np.pi) - np.pi  # noqa: E731
    episode = eqx.tree_at(lambda e: (e.x, e.x_next), episode, (wrap(episode.x), wrap(episode.x_next)))
    error, _ = evaluate(turning, [episode], space=StateSpace(1, (0,)), horizon=20)
    np.testing.assert_allclose(error.rmse, 0, atol=1e-4)
    plain, _ = evaluate(turning, [episode], space=StateSpace(1), horizon=20)
    assert plain.rmse[-1] > 1


def test_short_episodes_are_masked_and_the_horizon_never_exceeds_the_longest():
    system = oscillator()
    short, long = episodes_of(system, count=1, steps=3)[0], episodes_of(system, count=1, steps=6, seed=1)[0]
    real = windows([short, long], 30)
    assert real.us.shape == (9, 6, 1)
    assert real.valid.sum() == (3 + 2 + 1) + (6 + 5 + 4 + 3 + 2 + 1)
    error, calibration = evaluate(oscillator(), [short, long], horizon=30)
    assert error.horizon == 6
    assert np.isnan(calibration.pit[2, 1:]).all()
    np.testing.assert_allclose(error.rmse, 0, atol=1e-5)


def test_a_coordinate_that_never_moves_is_left_out():
    system = Linear(jnp.diag(jnp.array([0.9, 1.0])), jnp.array([[0.1], [0.0]]), jnp.zeros(2), jnp.zeros(2))
    (episode,) = episodes_of(system, count=1, steps=160)
    wrong = eqx.tree_at(lambda s: s.offset, system, jnp.array([0.0, 5.0]))
    error, calibration = evaluate(wrong, [episode])
    assert error.scale[1] == 0
    np.testing.assert_allclose(error.rmse, 0, atol=1e-4)
    assert np.isnan(calibration.coverage(1)[:, 1]).all()


def test_a_diverging_model_is_infinitely_wrong_without_a_warning():
    exploding = Linear(1e25 * jnp.eye(2), jnp.zeros((2, 1)), jnp.zeros(2), jnp.ones(2))
    error, calibration = evaluate(exploding, episodes_of(oscillator()))
    assert np.isinf(error.rmse[-1]) and np.isinf(error.median[-1])
    assert calibration.error(5) > 0.1


class WithReward(eqx.Module):
    """The oscillator with its reward, -x0^2 of the state before, as third coordinate."""

    system: Linear
    n_extra: int = eqx.field(static=True, default=1)

    def __call__(self, x, u, t):
        y = self.system(x[:2], u, t)
        return DiagonalGaussian(jnp.append(y.mean, -(x[0] ** 2)), jnp.append(y.std, 0.0))

    def draw(self, *, key):
        return self


def test_a_learned_reward_is_the_last_coordinate():
    error, calibration = evaluate(WithReward(oscillator()), episodes_of(oscillator()))
    assert error.per_coordinate.shape == (5, 3) and calibration.pit.shape[-1] == 3
    np.testing.assert_allclose(error.per_coordinate, 0, atol=1e-4)


def test_no_experience_is_a_usage_error():
    with pytest.raises(UsageError, match="at least one real episode"):
        windows([], 5)


def test_the_same_key_gives_the_same_numbers():
    system = oscillator(std=0.1)
    episodes = episodes_of(system)
    first, second = evaluate(system, episodes), evaluate(system, episodes)
    assert eqx.tree_equal(jax.tree.map(np.nan_to_num, first), jax.tree.map(np.nan_to_num, second))
