"""SAC's policy loss through model steps: SAC's own without any, and known systems against plain computations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Observations, Problem, Spaces
from forethought.learners.model_gradient import ModelGradientLoss
from forethought.learners.sac import SACLearner, policy_loss_of
from tests.linear import QuadraticTask, double_integrator

SPACES = Spaces(Observations((2,)), Box(jnp.array([-1.0]), jnp.array([1.0])))
LEARNER = SACLearner(hidden=(8,), critics=3, combine="mean", discount=0.9)
STATE = eqx.filter_jit(lambda key: LEARNER.init(SPACES, key=key))(jr.key(0))
PROBLEM = Problem(double_integrator(), QuadraticTask(edge=1.2))
XS = jnp.array([[0.3, -0.2], [1.0, 0.4], [1.15, 2.0], [0.0, 0.0]])
TEMPERATURE = jnp.asarray(0.2)
KEY = jr.key(4)


@eqx.filter_jit
def loss_and_gradient(loss, policy, critic):
    return eqx.filter_value_and_grad(loss, has_aux=True)(policy, critic, XS, TEMPERATURE, key=KEY)


def test_without_model_steps_it_is_the_loss_of_sac():
    plain = loss_and_gradient(policy_loss_of, STATE.policy, STATE.critic)
    through = loss_and_gradient(ModelGradientLoss(PROBLEM, 0.9, 0), STATE.policy, STATE.critic)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), through, plain)


def test_two_steps_of_a_known_system_against_a_plain_computation():
    (found, _), _ = loss_and_gradient(ModelGradientLoss(PROBLEM, 0.9, 2), STATE.policy, STATE.critic)
    gains = []
    for x, key in zip(XS, jr.split(KEY, len(XS)), strict=True):
        total, weight = 0.0, 1.0
        for t in range(2):
            act_key, _ = jr.split(jr.fold_in(key, t))
            u, log_prob = STATE.policy(x).sample_and_log_prob(key=act_key)
            total += weight * (-float(x @ x + 0.1 * u @ u) - 0.2 * float(log_prob))
            x = double_integrator()(x, u, jnp.array(0)).mean
            weight *= 0.9 * (abs(float(x[0])) <= 1.2)
        u, log_prob = STATE.policy(x).sample_and_log_prob(key=key)
        gains.append(total + weight * (float(jnp.mean(STATE.critic(x, u))) - 0.2 * float(log_prob)))
    assert float(found) == pytest.approx(-np.mean(gains), rel=1e-4)


def test_the_gradient_is_the_slope_of_the_loss():
    """Against a central difference in the bias of the mean action."""
    loss, step = ModelGradientLoss(PROBLEM, 0.9, 2), 1e-2
    bias = STATE.policy.network.biases[-1]

    def at(shift):
        policy = eqx.tree_at(lambda p: p.network.biases[-1], STATE.policy, bias.at[0].add(shift))
        return float(loss_and_gradient(loss, policy, STATE.critic)[0][0])

    _, gradient = loss_and_gradient(loss, STATE.policy, STATE.critic)
    slope = (at(step) - at(-step)) / (2 * step)
    assert float(gradient.network.biases[-1][0]) == pytest.approx(slope, rel=0.02)


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
    assert float(told["q"]) == pytest.approx(500, rel=0.1)
    assert SACLearner().scaled(STATE, jnp.asarray(50.0)) is STATE
