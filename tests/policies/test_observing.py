"""A policy that sees a part of the observation: a whole episode at once is seen as step by step."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Controller, DiagonalGaussian, Observations, UsageError
from forethought.policies.observing import Observing, View
from forethought.policies.uniform import UniformPolicy

NAMES = ("cart position (m)", "pole angle (rad)", "cart velocity (m/s)")
WHOLE = Observations((3,), angles=(1,))
XS = np.arange(15, dtype=np.float32).reshape(5, 3)


class Echo(eqx.Module):
    """Its most probable action is what it sees."""

    def __call__(self, x):
        return Mode(x)

    def draw(self, *, key):
        return self


class Mode(eqx.Module):
    mode: jnp.ndarray


@pytest.mark.parametrize("view", [View(), View((1,), 1), View((0, 2), 3)])
def test_an_episode_is_seen_as_step_by_step(view):
    controller = Observing(Echo(), view)
    assert isinstance(controller, Controller)
    carry, seen = controller.init(jnp.asarray(XS[0]), key=jr.key(0)), []
    for t, x in enumerate(XS):
        u, carry = controller.act(jnp.asarray(x), jnp.int32(t), carry, key=jr.key(0))
        seen.append(u)
    np.testing.assert_array_equal(view.along(XS), seen)


def test_the_newest_observation_is_last_and_the_first_one_stands_for_those_before():
    np.testing.assert_array_equal(View((0,), 3).along(XS)[:3], [[0, 0, 0], [0, 0, 3], [0, 3, 6]])


def test_coordinates_are_named_with_or_without_unit_or_by_index():
    seen = View.of(WHOLE, NAMES, ("pole angle", "cart position (m)", "1"), 2)
    assert seen.coordinates == (1, 0)
    assert seen.observations(WHOLE) == Observations((4,), angles=(0, 2))
    assert View.of(WHOLE, NAMES, (), 2).coordinates == (0, 1, 2)
    assert View.of(WHOLE, NAMES, (), 1).observations(WHOLE) == WHOLE


def test_unknown_coordinates_and_images_are_refused():
    with pytest.raises(UsageError, match="no coordinate 'pole angel'.*pole angle"):
        View.of(WHOLE, NAMES, ("pole angel",), 1)
    with pytest.raises(UsageError, match="no coordinates to choose from"):
        View.of(Observations((8, 8), "uint8"), (), (), 2)


def test_uniform_actions_as_a_policy():
    from forethought.core import Box, Discrete

    box = Box(jnp.array([-1.0, 0.0]), jnp.array([3.0, 0.5]))
    policy = UniformPolicy(box)
    assert float(policy(jnp.zeros(3)).log_prob(box.center)) == pytest.approx(-np.log(2.0))
    us = np.array([policy(jnp.zeros(3)).sample(key=jr.key(i)) for i in range(20)])
    assert (us >= np.asarray(box.low)).all() and (us <= np.asarray(box.high)).all()
    assert float(UniformPolicy(Discrete(4)).log_prob(jnp.int32(0))) == pytest.approx(-np.log(4.0))
    assert policy.draw(key=jr.key(0)) is policy and not isinstance(policy, DiagonalGaussian)
