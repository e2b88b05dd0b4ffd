import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy import stats

from forethought.core import Box, Categorical, Conditional, Discrete, Observations, Spaces, UsageError
from forethought.policies.distributions import ClippedGaussian, SquashedGaussian
from forethought.policies.network import on_policy, require_limits, squashed_gaussian

BOX = Box(jnp.array([-1.0]), jnp.array([3.0]))
PLANE = Box(jnp.array([-1.0, 0.0]), jnp.array([3.0, 10.0]))


log_probs = eqx.filter_jit(lambda distribution, us: jax.vmap(lambda u: distribution.log_prob(u[None]))(us))


def density(distribution):
    return lambda u: np.exp(
        np.asarray(log_probs(distribution, jnp.atleast_1d(jnp.asarray(u, jnp.float32))), np.float64)
    )


def integral(p, low, high):
    us = np.linspace(low, high, 20_001)
    return np.trapezoid(p(us), us)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.8, 0.3), (-1.5, 0.7)])
def test_the_squashed_density_is_that_of_a_change_of_variables(mean, std):
    squashed = SquashedGaussian(jnp.array([mean]), jnp.array([std]), BOX)
    p = density(squashed)
    assert integral(p, -1, 3) == pytest.approx(1, abs=2e-3)
    for u in (-0.9, 0.0, 1.0, 2.5):
        ratio = (u - 1) / 2
        expected = stats.norm.pdf(np.arctanh(ratio), mean, std) / (2 * (1 - ratio**2))
        assert p(u)[0] == pytest.approx(expected, rel=1e-4)
    u, log_prob = squashed.sample_and_log_prob(key=jr.key(3))
    np.testing.assert_allclose(log_prob, squashed.log_prob(u), rtol=1e-3)
    assert jnp.isfinite(squashed.log_prob(BOX.high)) and jnp.isfinite(squashed.log_prob(BOX.low))


@pytest.mark.parametrize(("mean", "std"), [(1.0, 2.0), (4.0, 1.0)])
def test_the_clipped_gaussian_has_mass_at_its_limits(mean, std):
    clipped = ClippedGaussian(jnp.array([mean]), jnp.array([std]), BOX)
    p = density(clipped)
    low, high = p(-1.0)[0], p(3.0)[0]
    assert low == pytest.approx(stats.norm.cdf(-1, mean, std), rel=1e-4)
    assert high == pytest.approx(stats.norm.sf(3, mean, std), rel=1e-4)
    inside = integral(p, -1 + 1e-5, 3 - 1e-5)
    assert low + high + inside == pytest.approx(1, abs=1e-3)
    samples = jax.vmap(lambda key: clipped.sample(key=key))(jr.split(jr.key(0), 4000))
    assert np.mean(np.asarray(samples) == 3) == pytest.approx(high, abs=0.03)


def test_log_probabilities_far_beyond_a_limit_are_finite():
    def at_limit(mean):
        return ClippedGaussian(jnp.array([mean]), jnp.array([0.1]), BOX).log_prob(jnp.array([3.0]))

    value, slope = jax.value_and_grad(at_limit)(-10.0)
    assert jnp.isfinite(value) and value < -1000 and jnp.isfinite(slope) and slope > 0


def test_actions_stay_within_the_limits_and_start_in_the_middle():
    spaces = Spaces(Observations((3,)), PLANE)
    x = jnp.array([0.5, -2.0, 1.0])
    clipped = on_policy(spaces, hidden=(8,), normalize=True, who="PPO", key=jr.key(0))
    squashed = squashed_gaussian(spaces, hidden=(8,), who="SAC", key=jr.key(0))
    for policy in (clipped, squashed):
        assert isinstance(policy, Conditional) and policy.draw(key=jr.key(0)) is policy
        us = jax.vmap(lambda key, policy=policy: policy(x).sample(key=key))(jr.split(jr.key(1), 200))
        assert (us >= PLANE.low[None]).all() and (us <= PLANE.high[None]).all()
    np.testing.assert_allclose(clipped(x).mode, PLANE.center, atol=0.3)


def test_discrete_actions_get_a_categorical_policy():
    policy = on_policy(Spaces(Observations((2,)), Discrete(4)), hidden=(8,), normalize=False, who="PPO", key=jr.key(0))
    actions = policy(jnp.ones(2))
    assert isinstance(actions, Categorical)
    np.testing.assert_allclose(actions.probs, 0.25, atol=0.02)


def test_gradients_reach_the_weights_only():
    policy = on_policy(Spaces(Observations((2,)), BOX), hidden=(4,), normalize=True, who="PPO", key=jr.key(0))
    slope = eqx.filter_grad(lambda p: p(jnp.array([1.0, 2.0])).log_prob(jnp.array([2.0])))(policy)
    held = [slope.box.low, slope.box.high, slope.inputs.moments.mean, slope.inputs.moments.var]
    assert all((np.asarray(leaf) == 0).all() for leaf in held)
    assert (np.asarray(slope.log_std) != 0).any() and (np.asarray(slope.network.weights[0]) != 0).any()


def test_actions_that_cannot_be_scaled_are_refused():
    with pytest.raises(UsageError, match="SAC needs continuous actions.*use PPO"):
        require_limits(Discrete(3), "SAC")
    with pytest.raises(UsageError, match="finite limits"):
        require_limits(Box(jnp.array([-jnp.inf]), jnp.array([1.0])), "PPO")
