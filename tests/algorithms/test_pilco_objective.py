"""PILCO's objective and the initial states it is averaged over."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.pilco_objective import ExpectedCost, initial_states
from forethought.core import Box, Buffer
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.space import StateSpace
from forethought.envs.env import collect
from forethought.envs.open import open_env
from forethought.models.gp.conditioning import condition
from forethought.policies.squashed import SquashedPolicy, random_rbf
from forethought.policies.uniform import Uniform
from forethought.tasks.pendulum_swing_up import PendulumSwingUp


def test_initial_states_are_the_tasks_or_else_the_first_ones_seen():
    env = open_env("forethought/CartPoleSwingUp-v0")
    one = initial_states(env.task, Buffer.empty(4, 1), key=jr.key(0))
    np.testing.assert_allclose(one.mean, np.zeros((1, 4)), atol=0.02)
    np.testing.assert_allclose(one.cov[0], 0.01 * np.eye(4), atol=0.002)
    for scale in (1.0, 2.0):
        many = initial_states(env.task, Buffer.empty(4, 1), components=400, std_scale=scale, key=jr.key(0))
        total = np.cov(many.mean.T) + many.cov.mean(0)
        np.testing.assert_allclose(total, scale**2 * 0.01 * np.eye(4), atol=scale**2 * 0.003)

    outside = open_env("Pendulum-v1", cost=lambda x, u: x[0] * 0 + u[0] * 0, termination=lambda x: x[0] > 9)
    buffer = Buffer.empty(3, 1)
    for i in range(3):
        buffer = buffer.append(collect(outside, Uniform(outside.task.action_space), steps=4, key=jr.key(i)))
    seen = initial_states(outside.task, buffer, key=jr.key(0))
    np.testing.assert_allclose(seen.mean[0], np.asarray(buffer.data.x)[[0, 4, 8]].mean(0), rtol=1e-5)


@pytest.fixture
def setup():
    """A pendulum's process after thirty random transitions, its expected cost over six steps, and a policy."""
    with jax.enable_x64(True):
        rng, space, task = np.random.default_rng(0), StateSpace(2, angles=(0,)), PendulumSwingUp(horizon=6)
        x, u = rng.uniform(-2, 2, (30, 2)), rng.uniform(-2, 2, (30, 1))
        z = jnp.concatenate([jax.vmap(space.features)(jnp.asarray(x)), jnp.asarray(u)], 1)
        y = np.stack([0.05 * x[:, 1], -0.4 * np.sin(x[:, 0]) + 0.05 * u[:, 0]], 1)
        hypers = {"lengthscale": np.full((2, 4), 4.0), "signal": np.ones(2), "noise": np.full(2, 0.01)}
        dynamics = LearnedDynamics(condition(z, y, **hypers, offset=np.zeros(2)), space)
        function = random_rbf(jnp.asarray(rng.normal(size=(4, 3))), 1, key=jr.key(1))
        policy = SquashedPolicy(function, Box.symmetric(jnp.array([2.0])), jnp.ones(3), space)
        yield ExpectedCost.of_episode(dynamics, task, Buffer.empty(2, 1), sensor_noise=True), policy


def test_the_value_is_the_sum_of_the_counted_costs_of_the_prediction(setup):
    cost, policy = setup
    counted = jnp.array([False, False, True, True, False, True, False])
    some = eqx.tree_at(lambda c: c.counted, cost, counted)
    prediction = cost.predict(policy)
    np.testing.assert_allclose(some(policy)[0], jnp.sum(prediction.cost[counted]), rtol=1e-9)
    np.testing.assert_allclose(cost(policy)[0], jnp.sum(prediction.cost), rtol=1e-9)


def test_the_value_is_averaged_over_starts_and_exploration_subtracts_standard_deviations(setup):
    cost, policy = setup
    points = [cost.starting_at(jnp.array(x)) for x in ([0.3, 0.0], [-0.2, 1.0])]
    starts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *(one.starts for one in points))
    both = ExpectedCost(cost.dynamics, cost.task, starts, cost.counted, jnp.zeros(()), exploration=0.5)
    predictions = [one.predict(policy) for one in points]
    expected = np.mean([np.sum(one.cost - 0.5 * one.cost_std) for one in predictions])
    np.testing.assert_allclose(both(policy)[0], expected, rtol=1e-9)
    np.testing.assert_allclose(predictions[1].states.mean[0], [-0.2, 1.0])


def test_the_gradient_is_that_of_the_value(setup):
    cost, policy = setup
    _, gradient = cost(policy)
    up, down = (
        policy.with_function(eqx.tree_at(lambda f: f.targets, policy.function, policy.function.targets.at[2, 0].add(s)))
        for s in (1e-4, -1e-4)
    )
    np.testing.assert_allclose(gradient.targets[2, 0], (cost(up)[0] - cost(down)[0]) / 2e-4, rtol=1e-5)
