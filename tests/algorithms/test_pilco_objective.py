"""PILCO's objective and the initial states it is averaged over."""

import operator

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


def test_value_and_gradient(setup):
    """The value is the mean over starts of the counted costs, less a bonus; the gradient equals finite differences.

    One test, because there is one program to compile.
    """
    cost, policy = setup
    points = [cost.starting_at(jnp.array(x)) for x in ([0.3, 0.0], [-0.2, 1.0])]
    starts = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *(one.starts for one in points))
    counted = jnp.array([False, False, True, True, False, True, True])
    both = ExpectedCost(cost.dynamics, cost.task, starts, counted, jnp.zeros(()), exploration=0.5)
    value, gradient = both(policy)
    predictions = [one.predict(policy) for one in points]
    np.testing.assert_allclose(predictions[1].states.mean[0], [-0.2, 1.0])
    each = [np.asarray(one.cost - 0.5 * one.cost_std)[np.asarray(counted)].sum() for one in predictions]
    np.testing.assert_allclose(value, np.mean(each), rtol=1e-9)
    for name, index in (("centers", (2, 1)), ("targets", (3, 0)), ("log_lengthscale", (0, 2))):
        where, values = operator.attrgetter(name), getattr(policy.function, name)
        up, down = (
            policy.with_function(eqx.tree_at(where, policy.function, values.at[index].add(s))) for s in (1e-3, -1e-3)
        )
        numeric = (both(up)[0] - both(down)[0]) / 2e-3  # with shorter steps rounding dominates
        np.testing.assert_allclose(where(gradient)[index], numeric, rtol=1e-4, atol=1e-7)
