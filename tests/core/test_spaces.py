"""Action spaces: limits are kept, samples cover them, and errors name the remedy."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, Discrete, UsageError, require_box


def test_samples_of_a_box_fill_it():
    box = Box(jnp.array([-1.0, 2.0]), jnp.array([1.0, 6.0]))
    us = jax.vmap(lambda k: box.sample(key=k))(jr.split(jr.key(0), 4000))
    assert (us >= box.low[None]).all() and (us <= box.high[None]).all()
    np.testing.assert_allclose(us.mean(0), box.center, atol=0.1)
    np.testing.assert_allclose(us.std(0), box.half_range / np.sqrt(3), rtol=0.05)  # of a uniform distribution
    assert box.size == 2


def test_clipping_leaves_what_is_inside():
    box = Box.symmetric(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(box.clip(jnp.array([-3.0, 1.5])), [-1.0, 1.5])
    free = Box.symmetric(jnp.array([jnp.inf]))
    np.testing.assert_array_equal(free.clip(jnp.array([1e30])), np.float32([1e30]))


def test_samples_of_discrete_actions_are_equally_likely():
    space = Discrete(4)
    us = jax.vmap(lambda k: space.sample(key=k))(jr.split(jr.key(1), 8000))
    assert us.dtype == jnp.int32
    np.testing.assert_allclose(np.bincount(us, minlength=4) / 8000, 0.25, atol=0.02)
    assert int(space.clip(jnp.asarray(9))) == 3


def test_a_space_without_actions_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Discrete(0)


def test_what_needs_continuous_actions_says_so():
    assert require_box(Box.symmetric(jnp.ones(1)), "CEM").size == 1
    with pytest.raises(UsageError, match="CEM needs continuous actions .* 3 discrete"):
        require_box(Discrete(3), "CEM")


def test_actions_have_names():
    limit = jnp.ones(2)
    assert Box(-limit, limit).names == ("u[0]", "u[1]")
    assert Box.symmetric(limit, ["force (N)", "torque (N m)"]).names == ("force (N)", "torque (N m)")
    with pytest.raises(ValueError, match="2 different names"):
        Box.symmetric(limit, ["force (N)"])
