"""Positions smoothed by their speeds: against a dense Gaussian posterior, and where there is nothing to smooth."""

import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Buffer, Transition
from forethought.dynamics.smoothing import smoothed, trapezoidal_gaps
from forethought.dynamics.space import StateSpace

SPACE = StateSpace(3, angles=(0,), speeds=((0, 2),), dt=0.05)  # [angle, another coordinate, angular speed]


def swinging(*, noise, episodes=8, steps=40, hidden=0.0, seed=0):
    """Episodes of a wheel that is pushed at random, as sensors see them, and the true states; positions in (-pi, pi].

    `hidden`: standard deviation of what moves the angle besides the trapezoidal rule, in a step.
    """
    rng, seen, truth = np.random.default_rng(seed), [], []
    for _ in range(episodes):
        speed = 3 * rng.normal() + np.cumsum(rng.normal(size=steps + 1))
        angle = np.concatenate([[0], np.cumsum(0.025 * (speed[1:] + speed[:-1]) + hidden * rng.normal(size=steps))])
        x = np.stack([angle, rng.normal(size=steps + 1), speed], 1)
        measured = x + noise * rng.normal(size=x.shape)
        measured[:, 0] = (measured[:, 0] + np.pi) % (2 * np.pi) - np.pi
        flags = np.zeros(steps, bool)
        seen.append(Transition(measured[:-1], np.zeros((steps, 1)), measured[1:], np.zeros(steps), flags, flags))
        truth.append(x[:-1, 0])
    return seen, truth


def buffer_of(episodes):
    buffer = Buffer.empty(3, 1)
    for episode in episodes:
        buffer = buffer.append(episode)
    return buffer


def angles_apart(a, b):
    return (np.asarray(a) - np.asarray(b) + np.pi) % (2 * np.pi) - np.pi


def smooth(buffer):
    return smoothed(SPACE, buffer.data, buffer.episode, count=int(buffer.size))


def test_noise_of_positions_falls_and_nothing_else_changes():
    episodes, truth = swinging(noise=0.02, hidden=0.004)
    buffer = buffer_of(episodes)
    steps, rows, truth = smooth(buffer), int(buffer.size), np.concatenate(truth)
    before, after = (np.std(angles_apart(x[:rows, 0], truth)) for x in (buffer.data.x, steps.x))
    assert before == pytest.approx(0.02, rel=0.1)
    assert after < 0.5 * before
    for name in ("u", "reward", "terminated", "truncated"):
        np.testing.assert_array_equal(getattr(steps, name), getattr(buffer.data, name))
    for old, new in ((buffer.data.x, steps.x), (buffer.data.x_next, steps.x_next)):
        np.testing.assert_array_equal(new[:, 1:], old[:, 1:])
        np.testing.assert_array_equal(new[rows:], old[rows:])
    inner = np.flatnonzero(np.diff(np.asarray(buffer.episode)[:rows]) == 0)
    np.testing.assert_allclose(angles_apart(steps.x_next[inner, 0], steps.x[inner + 1, 0]), 0, atol=1e-6)


def test_it_is_the_posterior_of_a_random_walk_seen_through_noise():
    """The dense formula for a Gaussian with a vague beginning, at the same variances."""
    episodes, _ = swinging(noise=0.02, hidden=0.006)
    buffer = buffer_of(episodes)
    steps = smooth(buffer)
    gaps = np.asarray(trapezoidal_gaps(SPACE, buffer.rows()), np.float64)[:, 0].reshape(8, 40)
    s2 = -np.mean(gaps[:, 1:] * gaps[:, :-1])
    q2 = np.mean(gaps**2) - 2 * s2
    assert np.sqrt(s2) == pytest.approx(0.02, rel=0.1) and np.sqrt(q2) == pytest.approx(0.006, rel=0.4)
    time = np.arange(41)
    prior = 1e3 + q2 * np.minimum(time[:, None], time[None])
    for k in (0, 5):
        walk = np.concatenate([[0], np.cumsum(gaps[k])])
        posterior = prior @ np.linalg.solve(prior + s2 * np.eye(41), walk)
        corrected = angles_apart(steps.x[40 * k : 40 * (k + 1), 0], buffer.data.x[40 * k : 40 * (k + 1), 0])
        np.testing.assert_allclose(corrected, (posterior - walk)[:-1], atol=2e-5)


def test_positions_without_noise_stay():
    """What the rule leaves of a smooth motion rises and falls slowly: neighbours agree instead of opposing."""
    time = 0.05 * np.arange(101)
    x = np.stack([np.sin(3 * time), 0 * time, 3 * np.cos(3 * time)], 1)
    flags = np.zeros(100, bool)
    buffer = buffer_of([Transition(x[:-1], np.zeros((100, 1)), x[1:], np.zeros(100), flags, flags)])
    np.testing.assert_array_equal(smooth(buffer).x, buffer.data.x)


def test_what_moves_the_state_is_not_taken_for_noise_of_sensors():
    episodes, truth = swinging(noise=0.0, hidden=0.02)
    steps = smooth(buffer_of(episodes))
    moved = angles_apart(steps.x[: 8 * 40, 0], np.concatenate(truth))
    assert np.std(moved) < 0.3 * 0.02


@pytest.mark.parametrize("steps", [1, 2])
def test_short_episodes_and_no_data(steps):
    episodes, _ = swinging(noise=0.02, episodes=3, steps=steps)
    assert np.isfinite(smooth(buffer_of(episodes)).x).all()
    empty = Buffer.empty(3, 1)
    np.testing.assert_array_equal(smooth(empty).x, jnp.zeros_like(empty.data.x))
