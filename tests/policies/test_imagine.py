"""Chains of Gaussians: against sampled rollouts, and their gradient against finite differences."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Gaussian
from forethought.dynamics.pendulum import Pendulum
from forethought.dynamics.space import StateSpace
from forethought.models.gp_condition import condition
from forethought.policies.imagine import imagine
from forethought.policies.squashed import SquashedPolicy, random_rbf
from forethought.tasks.pendulum import PendulumSwingUp

STEPS = 6


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def world():
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
    policy = SquashedPolicy(function, jnp.array([-2.0]), jnp.array([2.0]), jnp.array([3.0, 0.7, 0.7]), space)
    return gp, space, policy, PendulumSwingUp()


def test_a_chain_of_gaussians_is_near_sampled_rollouts(world):
    gp, space, policy, task = world
    start = Gaussian(jnp.array([0.2, 0.0]), jnp.diag(jnp.array([0.01, 0.01])))
    seen = jax.jit(lambda: imagine(gp, space, policy, task, start, steps=STEPS, sensor_noise=False))()
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
    costs = jax.vmap(task.final_cost)(jnp.asarray(xs[:, -1])).mean()
    np.testing.assert_allclose(seen.cost[-1], costs, rtol=0.02)
    assert seen.cost.shape == seen.spread.shape == (STEPS + 1,) and seen.actions.mean.shape == (STEPS, 1)


def test_the_gradient_equals_finite_differences(world):
    gp, space, policy, task = world
    start = Gaussian(jnp.array([0.2, 0.0]), jnp.diag(jnp.array([0.01, 0.02])))

    @jax.jit
    def cost(function):
        candidate = eqx.tree_at(lambda p: p.function, policy, function)
        seen = imagine(gp, space, candidate, task, start, steps=STEPS)
        return jnp.sum(seen.cost - 0.1 * seen.spread)

    gradient = jax.jit(jax.grad(cost))(policy.function)
    for name, index in (("centres", (2, 1)), ("targets", (3, 0)), ("log_lengthscale", (0, 2))):
        up, down = (
            eqx.tree_at(
                lambda f, n=name: getattr(f, n), policy.function, getattr(policy.function, name).at[index].add(s)
            )
            for s in (1e-3, -1e-3)
        )
        numeric = (cost(up) - cost(down)) / 2e-3
        np.testing.assert_allclose(
            getattr(gradient, name)[index], numeric, rtol=1e-5, atol=1e-7
        )  # of shorter steps rounding would be left


@pytest.mark.parametrize("sensor_noise", [True, False])
def test_sensors_that_are_noisy_make_the_policy_act_at_random(world, sensor_noise):
    gp, space, policy, task = world
    noisy = eqx.tree_at(lambda g: g.noise, gp, jnp.array([0.3, 0.3]))
    start = Gaussian.point(jnp.array([0.2, 0.0]))
    seen = jax.jit(lambda: imagine(noisy, space, policy, task, start, steps=1, sensor_noise=sensor_noise))()
    assert (seen.actions.cov[0, 0, 0] > 1e-6) == sensor_noise
