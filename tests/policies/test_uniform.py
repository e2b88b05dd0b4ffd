"""Actions at random."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box
from forethought.policies.uniform import Uniform


@pytest.mark.parametrize("hold", [1, 4])
def test_actions_are_uniform_and_kept(hold):
    low, high = jnp.array([-1.0, 2.0]), jnp.array([1.0, 6.0])
    controller = Uniform(Box(low, high), hold)
    carry, actions = controller.init(jnp.zeros(3), key=jr.key(0)), []
    for t in range(400):
        u, carry = controller.act(jnp.zeros(3), jnp.asarray(t), carry, key=jr.key(t))
        actions.append(np.asarray(u))
    blocks = np.asarray(actions).reshape(-1, hold, 2)
    assert (blocks == blocks[:, :1]).all() and len(np.unique(blocks[:, 0, 0])) == 400 // hold
    assert (blocks >= np.asarray(low)).all() and (blocks <= np.asarray(high)).all()
    np.testing.assert_allclose(blocks.mean((0, 1)), [0, 4], atol=0.25)
    np.testing.assert_allclose(blocks.std((0, 1)), np.array([2, 4]) / np.sqrt(12), rtol=0.15)
