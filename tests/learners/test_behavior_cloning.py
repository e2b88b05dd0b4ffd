"""Behavior cloning of controllers that are known."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Discrete, Observations, Spaces
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.policies.network import on_policy, squashed_gaussian

BOX = Box(jnp.array([-2.0]), jnp.array([2.0]))
CLONING = BehaviorCloning(updates=800, batch=64, learning_rate=5e-3, spread=0.3)
XS = jr.normal(jr.key(0), (400, 2))


def expert(x):
    return jnp.clip(-1.5 * x[:1] - x[1:], -1.8, 1.8)


@pytest.mark.parametrize("kind", ["squashed", "clipped"])
def test_the_policy_acts_as_the_controller_did_with_the_spread_asked_for(kind):
    spaces = Spaces(Observations((2,)), BOX)
    make = {
        "squashed": lambda key: squashed_gaussian(spaces, hidden=(32,), who="a test", key=key),
        "clipped": lambda key: on_policy(spaces, hidden=(32,), normalize=True, who="a test", key=key),
    }[kind]
    policy = eqx.filter_jit(make)(jr.key(1))
    us = jax.vmap(expert)(XS)
    us = us.at[350:].set(100.0)  # padding
    fitted, report = CLONING.fit(policy, XS, us, 350, space=BOX, key=jr.key(2))
    error = np.asarray(jax.vmap(lambda x: fitted(x).mode)(XS) - jax.vmap(expert)(XS))
    assert np.sqrt(np.mean(error**2)) / 2 < 0.06 and float(report.error) < 0.06
    assert float(report.last) < 0.2 * float(report.first)
    std = jax.vmap(lambda x: fitted(x).std)(XS) / (1.0 if kind == "squashed" else 2.0)
    np.testing.assert_allclose(np.mean(np.log(std)), np.log(0.3), atol=0.2)


def test_discrete_choices_are_imitated():
    spaces = Spaces(Observations((2,)), Discrete(3))
    policy = eqx.filter_jit(lambda key: on_policy(spaces, hidden=(32,), normalize=True, who="a test", key=key))(
        jr.key(1)
    )
    us = jnp.digitize(XS[:, 0], jnp.array([-0.5, 0.5]))
    fitted, report = CLONING.fit(policy, XS, us, 400, space=spaces.actions, key=jr.key(2))
    assert np.mean(np.asarray(jax.vmap(lambda x: fitted(x).mode)(XS) != us)) < 0.05 > float(report.error) - 0.02


@pytest.mark.parametrize(("loss", "expected"), [("squared", 0.4), ("absolute", 1.0)])
def test_squared_errors_fit_the_mean_and_absolute_errors_the_median(loss, expected):
    """In one state seven actions of ten are 1, and three are -1."""
    spaces = Spaces(Observations((2,)), BOX)
    policy = on_policy(spaces, hidden=(8,), normalize=True, who="a test", key=jr.key(1))
    us = jnp.tile(jnp.array([1.0] * 7 + [-1.0] * 3), 40)[:, None]
    how = dataclasses.replace(CLONING, loss=loss, decay=True)
    fitted, _ = how.fit(policy, jnp.ones_like(XS), us, 400, space=BOX, key=jr.key(2))
    np.testing.assert_allclose(fitted(jnp.ones(2)).mode, [expected], atol=0.1)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError, match="BehaviorCloning.spread must be positive"):
        BehaviorCloning(spread=0.0)
