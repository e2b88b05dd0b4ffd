"""Value gradients: rollouts of known systems against plain computations, and an update of every part."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Observations, Problem, Spaces
from forethought.learners.model_gradient import paths_of, update_through_model
from forethought.learners.sac import SACLearner, sampled_actions
from tests.linear import QuadraticTask, double_integrator

SPACES = Spaces(Observations((2,)), Box(jnp.array([-1.0]), jnp.array([1.0])))
LEARNER = SACLearner(hidden=(8,), critics=3, combine="mean", discount=0.9)
STATE = eqx.filter_jit(lambda key: LEARNER.init(SPACES, key=key))(jr.key(0))
PROBLEM = Problem(double_integrator(), QuadraticTask(edge=1.2))
XS = jnp.array([[0.3, -0.2], [1.0, 0.4], [1.15, 2.0], [0.0, 0.0]])
TEMPERATURE = jnp.asarray(0.2)
KEY = jr.key(4)


@eqx.filter_jit
def rolled(policy, temperature=TEMPERATURE, key=KEY):
    return paths_of(policy, PROBLEM, XS, temperature, 0.9, 2, key=key)


@eqx.filter_jit
def improved(learner, state):
    return update_through_model(learner, state, XS, PROBLEM, 2, key=KEY)


def test_two_steps_of_a_known_system_against_a_plain_computation():
    paths = rolled(STATE.policy)
    values = np.asarray(paths.value(STATE.critic, TEMPERATURE))
    x, total, weight = XS, np.zeros(4), np.ones(4)
    for t in range(2):
        act_key, _ = jr.split(jr.fold_in(KEY, t))
        u, log_prob = sampled_actions(STATE.policy, x, key=act_key)
        for i in range(4):
            total[i] += weight[i] * (-float(x[i] @ x[i] + 0.1 * u[i] @ u[i]) - 0.2 * float(log_prob[i]))
        x = jnp.stack([double_integrator()(x[i], u[i], jnp.array(0)).mean for i in range(4)])
        weight *= 0.9 * (np.abs(x[:, 0]) <= 1.2)
    u, log_prob = sampled_actions(STATE.policy, x, key=jr.split(KEY)[1])
    total += weight * (np.mean(STATE.critic(x, u), axis=0) - 0.2 * np.asarray(log_prob))
    np.testing.assert_allclose(values, total, rtol=1e-4)
    assert float(jnp.min(paths.weight)) == 0 < float(jnp.max(paths.weight))  # one state is followed by a terminal one


def test_the_policy_descends_the_slope_of_its_loss():
    """Adam's first step has the sign of the gradient, which is compared with a central difference."""
    learner, step = dataclasses.replace(LEARNER, learning_rate=1e-3), 1e-2
    state, told = improved(learner, STATE)
    bias = STATE.policy.network.biases[-1]

    def loss(shift):
        policy = eqx.tree_at(lambda p: p.network.biases[-1], STATE.policy, bias.at[0].add(shift))
        return -float(
            jnp.mean(rolled(policy, jnp.asarray(1.0), jr.split(KEY)[0]).value(state.critic, jnp.asarray(1.0)))
        )

    slope = (loss(step) - loss(-step)) / (2 * step)
    assert float(state.policy.network.biases[-1][0] - bias[0]) == pytest.approx(-1e-3 * np.sign(slope), rel=0.05)
    assert float(told["policy_loss"]) == pytest.approx(loss(0.0), rel=1e-4)


@pytest.mark.slow
def test_the_critics_learn_the_value_of_the_policy():
    """Of the first policy, kept fixed, against the discounted rewards of many long rollouts."""
    learner = dataclasses.replace(LEARNER, tau=0.2, learning_rate=2e-2)
    unit = (jnp.log(jnp.asarray(1e-6)), jnp.asarray(10.0))
    first = eqx.tree_at(lambda s: (s.log_temperature, s.critic.scale), STATE, unit)
    problem = Problem(double_integrator(), QuadraticTask())

    def step(i, state):
        key = jr.fold_in(jr.key(7), i)
        xs = jr.uniform(jr.fold_in(key, 1), (64, 2), minval=-3, maxval=3)
        state, _ = update_through_model(learner, state, xs, problem, 3, key=key)
        return eqx.tree_at(lambda s: (s.policy, s.log_temperature), state, (first.policy, first.log_temperature))

    state = eqx.filter_jit(lambda state: jax.lax.fori_loop(0, 300, step, state))(first)
    xs = jnp.repeat(jr.uniform(jr.key(9), (20, 2), minval=-1), 100, axis=0)
    far = eqx.filter_jit(paths_of)(first.policy, problem, xs, jnp.asarray(0.0), 0.9, 40, key=jr.key(3))
    found, true = (
        jnp.mean(values.reshape(20, 100), axis=1) for values in (state.critic.value(xs, far.first_u), far.gain)
    )
    assert np.corrcoef(found, true)[0, 1] > 0.9
    assert float(jnp.mean(found)) == pytest.approx(float(jnp.mean(true)), rel=0.15)


def test_targets_go_by_the_least_of_a_random_subset_of_slow_critics():
    learner = dataclasses.replace(LEARNER, subset=2)
    x, u = XS[:1], jnp.array([[0.3]])
    each = np.asarray(LEARNER.slow_critic(STATE, key=KEY)(x, u))[:, 0]
    pairs = {round(float(min(each[i], each[j])), 5) for i in range(3) for j in range(i)}
    least = eqx.filter_jit(lambda key: learner.slow_critic(STATE, key=key).value(x, u)[0])
    assert {round(float(least(jr.key(i))), 5) for i in range(20)} == pairs
    with pytest.raises(ValueError, match="subset must be between 1 and critics"):
        SACLearner(subset=3)


def test_observations_are_standardized_by_what_was_seen():
    learner = dataclasses.replace(LEARNER, normalize=True)
    state = eqx.filter_jit(lambda key: learner.init(SPACES, key=key))(jr.key(0))
    xs = 100 + 7 * jr.normal(jr.key(1), (500, 2))
    state = eqx.filter_jit(learner.seen)(state, xs)
    for part in (state.policy, state.critic):
        seen = jax.vmap(part.inputs)(xs)
        np.testing.assert_allclose(jnp.mean(seen, axis=0), 0, atol=0.02)
        np.testing.assert_allclose(jnp.std(seen, axis=0), 1, rtol=0.02)
    assert LEARNER.seen(STATE, xs) is STATE


def test_an_update_with_scaled_critics_learns_large_values():
    """Reward 50 for ever with discount 0.9 is a value of 500; the output of a new network is near 0."""
    learner = SACLearner(hidden=(8,), discount=0.9, tau=0.2, learning_rate=1e-2, scale_values=True)
    state = learner.scaled(eqx.filter_jit(lambda key: learner.init(SPACES, key=key))(jr.key(0)), jnp.asarray(50.0))
    assert float(state.critic.scale) == pytest.approx(500.0)
    from tests.learners.test_learners import steps_of_reward_one

    batch = steps_of_reward_one((64,), SPACES, key=jr.key(2))
    batch = eqx.tree_at(lambda b: b.reward, batch, 50 * batch.reward)
    step = eqx.filter_jit(lambda state, key: learner.update(state, batch, key=key))
    for i in range(150):
        state, told = step(state, jr.fold_in(jr.key(1), i))
    assert float(told["q"]) == pytest.approx(500, rel=0.15)
    assert SACLearner().scaled(STATE, jnp.asarray(50.0)) is STATE
