"""Plans against reality, for a planner and a model whose answers are known."""

from types import SimpleNamespace

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Discrete, Problem
from forethought.dynamics.space import StateSpace
from forethought.report.plan_prediction import predict_plan, real_reward, share_at_limits, unwrapped
from tests.report.fakes import Constant, Linear, episodes_of, oscillator, task
from tests.report.test_diagnostics import WithReward

KEY = jr.key(0)


def follow(system: Linear, x0, steps: int = 6):
    """The states [steps + 1, n] under the planner's constant action."""
    xs = [np.asarray(x0)]
    for _ in range(steps):
        xs.append(np.asarray(system.A) @ xs[-1] + np.asarray(system.B) @ np.array([0.5]) + np.asarray(system.offset))
    return np.array(xs)


def test_a_deterministic_model_predicts_exactly():
    (episode,) = episodes_of(oscillator(), count=1)
    plan = predict_plan(Problem(oscillator(), task()), Constant(), episode, start=10, key=KEY)
    xs = follow(oscillator(), episode.x[10])
    for band in plan.xs:
        np.testing.assert_allclose(band, xs, atol=1e-5)
    np.testing.assert_allclose(plan.us, 0.5)
    np.testing.assert_allclose(plan.reward[1], np.append(0, np.cumsum(-(xs[:-1, 0] ** 2))), atol=1e-4)


def test_the_band_contains_90_percent_of_a_known_noise():
    (episode,) = episodes_of(oscillator(), count=1)
    problem = Problem(oscillator(std=0.2), task())
    plan = predict_plan(problem, Constant(), episode, start=0, key=KEY, particles=4000)
    np.testing.assert_allclose(plan.xs[2, 1] - plan.xs[0, 1], 2 * 1.645 * 0.2, rtol=0.1)


def test_reward_stops_where_the_task_is_over():
    (episode,) = episodes_of(oscillator(), count=1)
    pushed = oscillator(offset=(1.0, 0.0))
    xs = follow(pushed, episode.x[0])
    limit = float(xs[2, 0] + xs[3, 0]) / 2  # passed by the third step
    plan = predict_plan(Problem(pushed, task(limit)), Constant(), episode, start=0, key=KEY)
    assert xs[2, 0] < limit < xs[3, 0]
    np.testing.assert_allclose(plan.reward[1, 3:], -np.sum(xs[:3, 0] ** 2), rtol=1e-4)


def test_a_learned_reward_is_read_from_the_state():
    (episode,) = episodes_of(oscillator(), count=1)
    problem = Problem(WithReward(oscillator()), task())
    plan = predict_plan(problem, Constant(), episode, start=5, key=KEY)
    xs = follow(oscillator(), episode.x[5])
    np.testing.assert_allclose(plan.reward[0], np.append(0, np.cumsum(-(xs[:-1, 0] ** 2))), atol=1e-4)
    np.testing.assert_array_equal(real_reward(problem, episode), episode.reward)


def test_a_known_cost_comes_from_the_task():
    (episode,) = episodes_of(oscillator(), count=1)
    other = eqx.tree_at(lambda e: e.reward, episode, np.full_like(episode.reward, 7))
    np.testing.assert_allclose(real_reward(Problem(oscillator(), task()), other), -(episode.x[:, 0] ** 2), rtol=1e-5)


@pytest.mark.parametrize(("us", "share"), [([[1.0], [-1.0]], 1.0), ([[0.0], [0.995]], 0.5), ([[0.0], [0.9]], 0.0)])
def test_share_of_actions_at_limits(us, share):
    assert share_at_limits(task(), np.array(us)) == share


def test_discrete_actions_have_no_limits():
    discrete = SimpleNamespace(action_space=Discrete(2))
    assert share_at_limits(discrete, np.array([0, 1])) is None


def test_angles_are_unwrapped_and_nothing_else():
    turning = Linear(jnp.eye(2), jnp.zeros((2, 1)), jnp.array([0.5, 0.5]), jnp.zeros(2))
    (episode,) = episodes_of(turning, count=1)
    wrap = lambda a: (a + np.pi) % (2 * np.pi) - np.pi  # noqa: E731
    wrapped = eqx.tree_at(lambda e: (e.x, e.x_next), episode, (wrap(episode.x), wrap(episode.x_next)))
    xs = unwrapped(StateSpace(2, (0,)), wrapped)
    np.testing.assert_allclose(np.diff(xs[:, 0]), 0.5, atol=1e-4)
    assert np.abs(xs[:, 1]).max() <= np.pi
