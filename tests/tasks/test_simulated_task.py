"""A simulated end is a coordinate of the state that is 0 before the end and 1 from it on."""

import jax.numpy as jnp
import numpy as np
import pytest

from forethought.core import Box, alive
from forethought.tasks.function_task import FunctionTask
from forethought.tasks.simulated_task import SimulatedTask


def end_after_two(x):
    return x[0] >= 2


def task(termination=None, simulated=True):
    base = FunctionTask(5, 0.1, Box.symmetric(jnp.ones(1)), None, termination)
    return SimulatedTask(base, 1, simulated, lambda seed: np.zeros(3))


@pytest.mark.parametrize(("done", "over"), [(0.0, False), (0.45, False), (0.55, True), (1.0, True)])
def test_a_simulated_end_is_the_last_coordinate_nearer_to_one_than_to_zero(done, over):
    assert bool(task().terminal(jnp.array([3.0, -7.0, done]))) == over


def test_an_end_given_as_a_function_of_the_state_has_precedence():
    assert not task(end_after_two).terminal(jnp.array([1.0, 9.0, 1.0]))
    assert task(end_after_two).terminal(jnp.array([2.0, 0.0, 0.0]))


def test_nothing_ends_without_a_simulated_end():
    assert not task(simulated=False).terminal(jnp.array([3.0]))


def test_an_episode_runs_until_its_first_simulated_end():
    xs = jnp.array(
        [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [2.0, 5.0, 1.0], [3.0, 5.0, 0.0]]
    )  # the first state never ends it
    np.testing.assert_array_equal(alive(task(), xs), [True, True, False, False])
