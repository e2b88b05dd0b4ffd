"""Guided policy search: linearization, regression weighted by precision, rounds, exact resume, new conditions."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.algorithms.gps import GPS, Imitation, _linearized, _train
from forethought.algorithms.local_models import LocalModels
from forethought.algorithms.local_priors import NoPrior
from forethought.algorithms.local_rollouts import Conditions
from forethought.algorithms.protocol import Algorithm
from forethought.core import LinearGaussian, UsageError
from forethought.envs.env import spaces_of
from forethought.policies.network import on_policy
from forethought.runs import driver
from tests.algorithms.test_local_models import ENV, least_cost, rounds, system

LOCAL = LocalModels(conditions=Conditions(count=3, samples=6, smoothing=0.0), prior=NoPrior(), noise=(0.3,))
SMALL = GPS(local=LOCAL, policy=Imitation(hidden=(16,), updates=300, batch=64, learning_rate=3e-3))


def policy_and_states(seed=0, C=2, N=4, T=3):
    policy = on_policy(spaces_of(ENV), hidden=(8,), normalize=True, who="GPS", key=jr.key(seed))
    policy = eqx.tree_at(lambda p: p.network.weights, policy, [3 * w for w in policy.network.weights])
    xs = jnp.asarray(np.random.default_rng(seed).normal(size=(C, N, T, 2)), jnp.float32)
    return policy, xs


def test_the_linearization_is_the_policy_to_first_order():
    """At states that hardly differ it is the tangent; its covariance is that of the policy."""
    policy, xs = policy_and_states()
    close = xs[:, :1] + 1e-3 * (xs - xs[:, :1])
    linear = _linearized(policy, close)
    x = close[1, 0, 2]
    tangent = jax.jacfwd(lambda x: policy(x).mean)(x)
    np.testing.assert_allclose(linear.F[1, 2], tangent, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(linear.F[1, 2] @ x + linear.f[1, 2], policy(x).mean, atol=1e-3)
    np.testing.assert_allclose(linear.cov[1, 2, 0, 0], policy(x).std[0] ** 2, rtol=1e-3)


def test_the_covariance_of_the_linearization_holds_what_it_leaves_out():
    policy, xs = policy_and_states()
    linear = _linearized(policy, xs)
    means = jax.vmap(lambda x: policy(x).mean)(xs[0, :, 1])
    residuals = means - xs[0, :, 1] @ linear.F[0, 1].T - linear.f[0, 1][None]
    expected = policy(xs[0, 0, 0]).std[0] ** 2 + jnp.mean(residuals[:, 0] ** 2)
    np.testing.assert_allclose(linear.cov[0, 1, 0, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(jnp.mean(residuals), 0, atol=1e-5)


def test_the_regression_weights_by_precision():
    """Two controllers ask for different actions in the same states: the policy follows their precision-weighted mean.

    Its variance is the inverse of the mean of the inverse variances.
    """
    policy, _ = policy_and_states()
    xs = jnp.broadcast_to(jnp.array([0.5, -0.5]), (2, 4, 3, 2))
    F = jnp.zeros((2, 3, 1, 2))
    f = jnp.broadcast_to(jnp.array([1.0, -0.5])[:, None, None], (2, 3, 1))
    cov = jnp.broadcast_to(jnp.array([0.1, 0.4])[:, None, None, None], (2, 3, 1, 1))
    how = Imitation(hidden=(8,), updates=800, batch=64, learning_rate=1e-2)
    memory = how.optimizer.init(eqx.filter(policy.network, eqx.is_inexact_array))
    trained, _, loss = _train(how, policy, memory, LinearGaussian(F, f, cov), xs, jr.key(1))
    precisions = np.array([10.0, 2.5])
    assert float(trained(xs[0, 0, 0]).mean[0]) == pytest.approx(precisions @ [1.0, -0.5] / precisions.sum(), abs=0.05)
    assert float(trained(xs[0, 0, 0]).std[0] ** 2) == pytest.approx(1 / precisions.mean(), rel=1e-3)
    assert np.isfinite(loss)


@pytest.mark.slow
def test_one_policy_learns_from_all_local_controllers():
    """Its cost is within 15% of the optimum from the conditions of its teachers, and from one between them."""
    state, infos = rounds(SMALL, ENV, 8)
    assert isinstance(SMALL, Algorithm)
    controller = SMALL.controller(state, ENV)
    starts = np.asarray(state.local.xs[:, 0])
    for x0 in (*starts, starts.mean(axis=0)):
        episode = ENV.run(controller, key=jr.key(0), options={"x0": x0})
        assert -float(episode.reward.sum()) < 1.15 * least_cost(np.asarray(x0, float)) + 0.05
    assert infos[-1].metrics["policy_loss"] < 0.3 * infos[0].metrics["policy_loss"]
    assert {"kl", "epsilon", "eta", "policy_s", "kl_3"} <= infos[-1].metrics.keys()


def test_the_policy_is_rolled_out_from_the_second_round_on():
    """With it the recorded actions are its own mean and small noise; in the first round they are not."""
    state, _ = rounds(SMALL, ENV, 1)
    _, info = SMALL.iterate(state, ENV, key=jr.key(7))
    gaps = [e.u - np.asarray(jax.vmap(lambda x: state.policy(x).mode)(jnp.asarray(e.x))) for e in info.episodes]
    std = float(jnp.exp(state.policy.log_std[0]) * 3.0)
    assert 0.5 * std < np.std(gaps) < 1.5 * std
    local = dataclasses.replace(SMALL, on_policy=False)
    _, info = local.iterate(state, ENV, key=jr.key(7))
    policies = jax.tree.map(np.asarray, state.local.policies)
    means = [np.einsum("tmn,tn->tm", policies.F[i // 6], e.x) + policies.f[i // 6] for i, e in enumerate(info.episodes)]
    gaps = [episode.u - mean for episode, mean in zip(info.episodes, means, strict=True)]
    assert np.std(gaps) < 1.5 * float(np.sqrt(np.mean(policies.cov)))


@pytest.mark.slow
def test_a_run_resumes_exactly(tmp_path):
    whole = driver.train(SMALL, ENV, iterations=3, out=tmp_path / "whole", progress=False)
    driver.train(SMALL, ENV, iterations=2, out=tmp_path / "parts", progress=False)
    parts = driver.train(SMALL, ENV, iterations=3, out=tmp_path / "parts", progress=False, resume=True)
    jax.tree.map(np.testing.assert_array_equal, whole.state, parts.state)
    assert len(parts.evaluate(episodes=2).returns) == 2


def test_what_cannot_work_is_refused():
    few = dataclasses.replace(LOCAL, conditions=Conditions(count=2, samples=3))
    with pytest.raises(UsageError, match="need 5 rollouts"):
        GPS(local=few).init(system(), key=jr.key(0))
    with pytest.raises(ValueError, match="Imitation.updates must be at least 1"):
        Imitation(updates=0)
