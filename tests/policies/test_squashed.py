"""Policies: what they do with points and with Gaussians."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Gaussian, push_forward
from forethought.dynamics.space import StateSpace
from forethought.policies.squashed import RBF, SquashedPolicy, random_affine, random_rbf


def a_policy(kind, m=2):
    space = StateSpace(3, angles=(1,))
    f = space.feature_size
    if kind == "affine":
        function = random_affine(f, m, key=jr.key(0))
    else:
        function = random_rbf(jr.normal(jr.key(1), (7, f)), m, key=jr.key(0))
    low, high = jnp.array([-1.0, 0.0])[:m], jnp.array([2.0, 4.0])[:m]
    return SquashedPolicy(function, Box(low, high), jnp.array([1.0, 2.0, 0.7, 0.7]), space)


def features(n=4, seed=0):
    rng = np.random.default_rng(seed)
    root = 0.4 * rng.normal(size=(n, n))
    return Gaussian(jnp.asarray(rng.normal(size=n), jnp.float32), jnp.asarray(root @ root.T, jnp.float32))


@pytest.mark.parametrize("kind", ["affine", "rbf"])
def test_moments_equal_sampling(kind):
    policy, s = a_policy(kind), features()
    prepared = jax.jit(lambda function: function.prepared())(policy.function)
    rule, u = jax.jit(lambda s: ((rule := policy.moments(prepared, s)), push_forward(s, rule)))(s)
    samples = np.random.default_rng(1).multivariate_normal(s.mean, s.cov, 100_000).astype(np.float32)

    def act(one):
        certain = policy.moments(prepared, Gaussian.point(one))
        return certain.F @ one + certain.f

    us = np.asarray(jax.jit(jax.vmap(act))(jnp.asarray(samples)))
    cross = np.cov(np.concatenate([samples, us], 1).T)[:4, 4:]
    np.testing.assert_allclose(u.mean, us.mean(0), atol=0.02)
    np.testing.assert_allclose(u.cov, np.cov(us.T), atol=0.03)
    # the function and the squash are matched one after the other, so together they are near, not exact
    np.testing.assert_allclose(s.cov @ rule.F.T, cross, atol=0.06)
    assert (us >= np.asarray(policy.action_space.low) - 1e-5).all() and (
        us <= np.asarray(policy.action_space.high) + 1e-5
    ).all()


@pytest.mark.parametrize("kind", ["affine", "rbf"])
def test_a_certain_state_gives_the_action_that_is_taken(kind):
    policy, x = a_policy(kind), jnp.array([0.3, 2.0, -0.4])

    @jax.jit
    def both(x):
        carry = policy.init(x, key=jr.key(0))
        s = Gaussian.point(policy.space.features(x))
        return policy.act(x, jnp.array(0), carry, key=jr.key(0))[0], push_forward(s, policy.moments(carry, s))

    u, certain = both(x)
    np.testing.assert_allclose(certain.mean, u, rtol=1e-4)
    np.testing.assert_allclose(certain.cov, 0, atol=1e-5)
    turned, _ = both(x + jnp.array([0, 2 * jnp.pi, 0]))
    np.testing.assert_allclose(turned, u, atol=1e-4)


def test_an_rbf_policy_passes_through_its_targets():
    with jax.enable_x64(True):
        centers = 2.0 * jnp.eye(4)
        function = RBF(centers, jnp.array([[0.3], [-0.2], [0.5], [0.1]]), jnp.zeros((1, 4)))
        values = jax.jit(lambda function: jax.vmap(lambda c: function.prepared()(c).mean)(centers))(function)
        np.testing.assert_allclose(values, function.targets, atol=1e-3)
        far = RBF(centers - 23, function.targets, function.log_lengthscale)  # a feature far from zero in its units
        for start in (function, far):
            low, high = start.limits()
            for a, b, c in zip(*map(jax.tree.leaves, (low, start, high)), strict=True):
                assert bool((a < b).all()) and bool((b < c).all())
