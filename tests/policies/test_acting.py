"""The smallest learner, from collecting to acting: regression of a policy on what an expert did."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from forethought.core import Box, Buffer, Categorical, Conditional, Controller, DiagonalGaussian, Learner, UsageError
from forethought.envs import GymEnv, collect, open_env, spaces_of
from forethought.policies.acting import Acting
from tests.envs.toy_envs import Linear, limited


class LinearPolicy(eqx.Module):
    """`W x + b` is the mean of an action in a box, or the logits of a choice."""

    W: Any
    b: Any
    log_std: Any  # None for choices

    def __call__(self, x):
        y = self.W @ x + self.b
        return Categorical(y) if self.log_std is None else DiagonalGaussian(y, jnp.exp(self.log_std))

    def draw(self, *, key):
        return self


class Cloned(eqx.Module):
    policy: LinearPolicy
    memory: Any


@dataclass(frozen=True)
class LinearCloning:
    """Settings of behavior cloning by a linear policy: maximum likelihood of the expert's actions."""

    rate: float = 0.05

    def init(self, spaces, *, key):
        box, m = isinstance(spaces.actions, Box), spaces.actions.size
        policy = LinearPolicy(
            0.01 * jr.normal(key, (m, spaces.observations.size)), jnp.zeros(m), jnp.zeros(m) if box else None
        )
        return Cloned(policy, optax.adam(self.rate).init(policy))

    @eqx.filter_jit
    def update(self, state, batch, *, key):
        def loss(policy):
            return -jnp.mean(jax.vmap(lambda x, u: policy(x).log_prob(u))(batch.x, batch.u))

        value, gradient = eqx.filter_value_and_grad(loss)(state.policy)
        step, memory = optax.adam(self.rate).update(gradient, state.memory)
        return Cloned(eqx.apply_updates(state.policy, step), memory), {"loss": value}

    def policy(self, state):
        return state.policy


def cloned(env, expert, episodes, updates):
    """collect -> Buffer -> sample -> update -> policy."""
    learner: Learner = LinearCloning()
    assert isinstance(learner, Learner)
    buffer = Buffer.like(spaces_of(env).example(), 512, ring=True)
    for i in range(episodes):
        buffer = buffer.append(collect(env, expert, key=jr.key(i)))

    @jax.jit
    def fit(state, buffer, keys):
        def step(state, key):
            sample_key, update_key = jr.split(key)
            state, told = learner.update(state, buffer.sample(64, key=sample_key), key=update_key)
            return state, told["loss"]

        return jax.lax.scan(step, state, keys)

    state, losses = fit(learner.init(spaces_of(env), key=jr.key(0)), buffer, jr.split(jr.key(100), updates))
    assert losses[-1] < losses[0]
    policy = learner.policy(state)
    assert isinstance(policy, Conditional)
    return policy


def test_continuous_actions_are_cloned():
    env = GymEnv(limited(Linear(), 20))
    K = jnp.array([[-0.5, 0.3]])
    expert = Acting(LinearPolicy(K, jnp.zeros(1), jnp.log(jnp.array([0.1]))))
    assert isinstance(expert, Controller)
    policy = cloned(env, expert, 12, 600)
    np.testing.assert_allclose(policy.W, K, atol=0.05)
    np.testing.assert_allclose(np.exp(policy.log_std), 0.1, rtol=0.2)
    calm, exploring = (collect(env, Acting(policy, mode=mode), key=jr.key(7)) for mode in (True, False))
    np.testing.assert_allclose(calm.u, calm.x @ np.asarray(policy.W).T + np.asarray(policy.b), atol=1e-5)
    spread = exploring.u - (exploring.x @ np.asarray(policy.W).T + np.asarray(policy.b))
    assert 0.03 < spread.std() < 0.3


def test_discrete_actions_are_cloned():
    env = open_env("CartPole-v1", horizon=100)
    direction = jnp.array([0.0, 0.1, 4.0, 1.0])
    expert = Acting(LinearPolicy(jnp.stack([-direction, direction]), jnp.zeros(2), None), mode=True)
    assert len(collect(env, expert, key=jr.key(0))) == 100
    policy = cloned(env, expert, 4, 600)
    done = [collect(env, Acting(policy, mode=True), key=jr.key(50 + i)) for i in range(3)]
    assert [len(episode) for episode in done] == [100] * 3
    assert set(collect(env, Acting(policy), key=jr.key(1)).u.tolist()) == {0, 1}


def test_a_distribution_without_a_mode_cannot_be_acted_by_its_mode():
    class Blind(eqx.Module):
        def sample(self, *, key):
            return jnp.zeros(1)

        def log_prob(self, y):
            return jnp.zeros(())

    class Policy(eqx.Module):
        def __call__(self, x):
            return Blind()

        def draw(self, *, key):
            return self

    with pytest.raises(UsageError, match="Blind has no mode"):
        Acting(Policy(), mode=True).act(jnp.zeros(2), jnp.array(0), (), key=jr.key(0))
