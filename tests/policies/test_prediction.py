"""Predicted trajectories: against sampled rollouts, and another model of the same system."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Gaussian
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.pendulum import Pendulum
from forethought.dynamics.space import StateSpace
from forethought.models.gp.conditioning import condition
from forethought.policies.prediction import cost_moments, predict
from forethought.policies.squashed import SquashedPolicy, random_rbf
from forethought.tasks.function_task import FunctionTask
from forethought.tasks.pendulum_swing_up import PendulumSwingUp

STEPS = 6


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def setup():
    """A pendulum's process after sixty random transitions, and a policy."""
    rng, space = np.random.default_rng(0), StateSpace(2, angles=(0,))
    x = jnp.asarray(rng.uniform([-2, -4], [2, 4], (60, 2)))
    u = jnp.asarray(rng.uniform(-2, 2, (60, 1)))
    y = jax.vmap(lambda a, b: Pendulum()(a, b, jnp.array(0)).mean)(x, u) - x
    z = jnp.concatenate([jax.vmap(space.features)(x), u], 1)
    scales = np.array([[8.0, 2.0, 2.0, 6.0]] * 2)
    noise, spread = np.array([1e-3, 1e-2]), np.std(np.asarray(y), 0)
    gp = condition(z, y, lengthscale=scales, signal=spread, noise=noise, offset=np.zeros(2))
    function = random_rbf(jnp.asarray(rng.normal(size=(5, 3))), 1, key=jr.key(1))
    policy = SquashedPolicy(function, Box.symmetric(jnp.array([2.0])), jnp.array([3.0, 0.7, 0.7]), space)
    return gp, space, policy, PendulumSwingUp()


@eqx.filter_jit
def predicted(dynamics, policy, task, start, steps, sensor_noise):
    return predict(dynamics, policy, task, start, steps=steps, sensor_noise=sensor_noise)


def test_a_predicted_trajectory_is_near_sampled_rollouts(setup):
    gp, space, policy, task = setup
    start = Gaussian(jnp.array([0.2, 0.0]), jnp.diag(jnp.array([0.01, 0.01])))
    seen = predicted(LearnedDynamics(gp, space), policy, task, start, STEPS, False)
    carry = policy.function.prepared()

    def rollout(key):
        def step(x, t):
            u, _ = policy.act(x, t, carry, key=key)
            after = x + gp(jnp.concatenate([space.features(x), u])).mean
            return after, after

        x0 = start.mean + 0.1 * jr.normal(key, (2,))
        return jnp.concatenate([x0[None], jax.lax.scan(step, x0, jnp.arange(STEPS))[1]])

    xs = np.asarray(jax.jit(jax.vmap(rollout))(jr.split(jr.key(2), 4000)))
    np.testing.assert_allclose(seen.states.mean, xs.mean(0), atol=0.02)
    sampled = np.stack([np.cov(xs[:, t].T) for t in range(STEPS + 1)])
    np.testing.assert_allclose(seen.states.cov, sampled, atol=0.01)
    costs = jax.jit(jax.vmap(task.final_cost))(jnp.asarray(xs[:, -1])).mean()
    np.testing.assert_allclose(seen.cost[-1], costs, rtol=0.02)
    assert seen.cost.shape == seen.cost_std.shape == (STEPS + 1,) and seen.actions.mean.shape == (STEPS, 1)


@pytest.mark.parametrize("sensor_noise", [True, False])
def test_noise_is_that_of_the_sensors_or_moves_the_state(setup, sensor_noise):
    gp, space, policy, task = setup
    noisy = LearnedDynamics(eqx.tree_at(lambda g: g.noise, gp, jnp.array([0.3, 0.4])), space)
    start = Gaussian.point(jnp.array([0.2, 0.0]))
    seen = predicted(noisy, policy, task, start, 1, sensor_noise)
    assert (seen.actions.cov[0, 0, 0] > 1e-6) == sensor_noise
    if not sensor_noise:
        extra = jnp.diagonal(seen.states.cov[1]) - jnp.array([0.09, 0.16])
        assert jnp.all((extra >= 0) & (extra < 0.01))


def test_the_policy_sees_the_state_with_half_the_variance_of_an_observed_change(setup):
    """A change is the difference of two observations; against sampled observations and their actions."""
    gp, space, policy, task = setup
    noise = np.array([0.1, 0.2])
    noisy = LearnedDynamics(eqx.tree_at(lambda g: g.noise, gp, jnp.asarray(noise)), space)
    start = Gaussian.point(jnp.array([0.2, 0.0]))
    seen = predicted(noisy, policy, task, start, 1, True)
    observed = np.asarray(start.mean) + np.random.default_rng(0).normal(size=(20_000, 2)) * noise / np.sqrt(2)
    carry = policy.function.prepared()
    us = jax.jit(jax.vmap(lambda x: policy.act(x, jnp.array(0), carry, key=jr.key(0))[0]))(jnp.asarray(observed))
    np.testing.assert_allclose(seen.actions.cov[0, 0, 0], np.var(us), rtol=0.1)
    np.testing.assert_allclose(seen.actions.mean[0], np.mean(us), atol=0.01)


def test_integrated_velocities_predict_what_a_model_of_positions_predicts(setup):
    """Velocities learned, positions by the trapezoidal rule: close to a second process that learned positions."""
    gp, space, policy, task = setup
    velocities = StateSpace(2, angles=(0,), velocities=((0, 1),), dt=0.05)
    speed_only = jax.tree.map(lambda a: a[1:] if a.ndim and a.shape[0] == 2 else a, gp)
    dynamics = LearnedDynamics(speed_only, velocities, drift=jnp.array([0.01]))
    start = Gaussian(jnp.array([0.2, 0.5]), jnp.diag(jnp.array([0.01, 0.02])))
    seen = predicted(dynamics, policy, task, start, STEPS, False)
    xs, cov = np.asarray(seen.states.mean), np.asarray(seen.states.cov)
    np.testing.assert_allclose(np.diff(xs[:, 0]), 0.025 * (xs[1:, 1] + xs[:-1, 1]), atol=1e-12)
    plain = predicted(LearnedDynamics(gp, space), policy, task, start, STEPS, False)
    np.testing.assert_allclose(xs, plain.states.mean, atol=0.03)  # the pendulum itself is integrated more finely
    np.testing.assert_allclose(cov, plain.states.cov, atol=0.01)
    assert np.linalg.eigvalsh(cov).min() > 0


def test_smoothing_a_cost_that_is_any_function_is_in_units_of_the_policys_features(setup):
    """A quadratic of the speed, by sigma points: the added variance is (0.25 * 3)^2, as the speed's unit is 3."""
    _, _, policy, _ = setup
    np.testing.assert_allclose(policy.state_scale(), [1.0, 3.0])  # 1 rad for the angle
    task = FunctionTask(3, 0.1, policy.action_space, lambda x, u: x[1] ** 2 + u[0])
    p = Gaussian(jnp.array([0.2, 0.5, 1.5]), jnp.diag(jnp.array([0.1, 0.2, 0.3])))
    moments = jax.jit(
        lambda smoothing: cost_moments(task, p, jnp.array(0), smoothing, smoothing * policy.state_scale())
    )
    for smoothing in (0.0, 0.25):
        mean, _ = moments(smoothing)
        np.testing.assert_allclose(mean, 0.5**2 + 0.2 + (3 * smoothing) ** 2 + 1.5)
