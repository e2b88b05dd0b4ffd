"""PPO on images, with policy and value on one trunk."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Discrete, Observations, Spaces, Transition, UsageError
from forethought.learners import PPOLearner
from forethought.learners.actor_critic import Rows, prepared
from forethought.learners.advantages import generalized_advantages

SPACES = Spaces(Observations((6, 6, 2), "bool"), Discrete(3))
LEARNER = PPOLearner(epochs=2, minibatches=2, shared_trunk=True, learning_rate=1e-2)
T, B = 4, 3
update = eqx.filter_jit(lambda learner, state, batch: learner.update(state, batch, key=jr.key(9))[0])


@pytest.fixture(scope="module")
def state():
    return eqx.filter_jit(lambda key: LEARNER.init(SPACES, key=key))(jr.key(0))


@pytest.fixture(scope="module")
def batch():
    """Streams with an end of each kind."""
    xs = jr.bernoulli(jr.key(1), 0.3, (T + 1, B, 6, 6, 2))
    terminated = jnp.zeros((T, B), bool).at[1, 0].set(True)
    truncated = jnp.zeros((T, B), bool).at[2, 1].set(True)
    x_next = jnp.where((terminated | truncated)[..., None, None, None], ~xs[1:], xs[1:])
    us = jr.randint(jr.key(2), (T, B), 0, 3)
    return Transition(xs[:-1], us, x_next, jr.normal(jr.key(3), (T, B)), terminated, truncated)


def test_rows_are_those_of_a_policy_and_a_value_that_share_nothing(state, batch):
    _, rows, _ = eqx.filter_jit(prepared)(state, batch, discount=0.9, trace=0.8)

    @eqx.filter_jit
    def expected(state, batch):
        def value(x):
            return state.value(state.policy.trunk(x))

        values, after = (jax.vmap(jax.vmap(value))(xs) for xs in (batch.x, batch.x_next))
        ends = (batch.terminated, batch.truncated)
        advantages = generalized_advantages(batch.reward, values, after, *ends, discount=0.9, trace=0.8)
        log_probs = jax.vmap(jax.vmap(lambda x, u: state.policy(x).log_prob(u)))(batch.x, batch.u)
        return advantages, values + advantages, log_probs

    for a, b in zip((rows.advantage, rows.target, rows.log_prob), expected(state, batch), strict=True):
        np.testing.assert_allclose(a, b.reshape(-1), rtol=2e-4, atol=2e-5)


def test_an_update_raises_the_probability_of_better_actions(state, batch):
    better = eqx.tree_at(lambda b: b.reward, batch, (batch.u == 2).astype(jnp.float32))
    learner, after = dataclasses.replace(LEARNER, discount=0.01), state
    for _ in range(10):
        after = update(learner, after, better)
    flat = batch.x.reshape(-1, 6, 6, 2)
    probs = [np.asarray(jax.vmap(lambda x, s=s: s.policy(x).probs[2])(flat)) for s in (state, after)]
    rewarded = np.asarray(batch.u).reshape(-1) == 2
    assert probs[0].max() < 0.4 and probs[1][rewarded].min() > 0.6
    assert not np.allclose(after.policy.trunk.network.kernels[0], state.policy.trunk.network.kernels[0])


def test_the_layers_can_be_chosen():
    spaces = Spaces(Observations((36, 36, 1), "uint8"), Discrete(3))
    learner = dataclasses.replace(LEARNER, convolutions="medium")
    before = eqx.filter_jit(lambda key: learner.init(spaces, key=key))(jr.key(0))
    xs = jr.randint(jr.key(1), (2, 2, 36, 36, 1), 0, 255).astype(jnp.uint8)
    none, us = jnp.zeros((2, 2), bool), jnp.array([[0, 1], [2, 0]])
    after = update(learner, before, Transition(xs, us, xs, us.astype(jnp.float32), none, none))
    kernels = [state.policy.trunk.network.kernels for state in (before, after)]
    assert [kernel.shape[-1] for kernel in kernels[0]] == [16, 32] and before.policy.trunk.size == 256
    assert all(not np.allclose(a, b) for a, b in zip(*kernels, strict=True))


def test_layers_without_a_trunk_are_refused():
    with pytest.raises(ValueError, match="'medium' needs shared_trunk"):
        PPOLearner(convolutions="medium")


def test_the_learning_rate_falls_to_zero(batch):
    learner = dataclasses.replace(LEARNER, decay_steps=2 * T * B)
    states = [eqx.filter_jit(lambda key: learner.init(SPACES, key=key))(jr.key(0))]
    for _ in range(3):
        states.append(update(learner, states[-1], batch))
    kernels = [np.asarray(s.policy.trunk.network.kernels[0]) for s in states]
    moved = [float(np.abs(b - a).max()) for a, b in zip(kernels, kernels[1:], strict=False)]
    assert moved[0] > 1e-3 and 0 < moved[1] < moved[0] and moved[2] == 0


def test_rewards_are_limited_in_learning(state, batch):
    signs = eqx.tree_at(lambda b: b.reward, batch, jnp.sign(batch.reward))
    large = eqx.tree_at(lambda b: b.reward, batch, 7 * jnp.sign(batch.reward))
    limited = dataclasses.replace(LEARNER, reward_limit=1.0)
    one, other = (update(learner, state, rows) for learner, rows in ((LEARNER, signs), (limited, large)))
    np.testing.assert_array_equal(one.policy.head.network.weights[0], other.policy.head.network.weights[0])


def test_the_loss_of_a_row_is_that_of_the_whole_policy(state, batch):
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), batch)
    rows = Rows(flat.x, flat.u, flat.reward, flat.reward, jnp.full(T * B, -1.0))
    _, told = eqx.filter_jit(LEARNER.loss)((state.policy, state.value), rows)
    entropy = jnp.mean(jax.vmap(lambda x: state.policy(x).entropy())(flat.x))
    np.testing.assert_allclose(told["entropy"], entropy, rtol=1e-5)


def test_wrong_settings_and_spaces_are_refused(state):
    with pytest.raises(ValueError, match="decay_steps must be positive"):
        PPOLearner(decay_steps=0)
    with pytest.raises(ValueError, match="reward_limit must be positive"):
        PPOLearner(reward_limit=-1.0)
    with pytest.raises(UsageError, match="a shared trunk is for images"):
        LEARNER.init(Spaces(Observations((4,)), Discrete(2)), key=jr.key(0))
    with pytest.raises(UsageError, match="needs a first policy with a trunk"):
        LEARNER.init(SPACES, policy=state.policy.head, key=jr.key(0))
