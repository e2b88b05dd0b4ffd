import jax.random as jr
import pytest

from forethought.envs.env import collect
from forethought.models.gp.process import GP
from forethought.policies.uniform import Uniform
from forethought.report.capacity import CapacityPoint, as_rows, capacity
from tests.algorithms.test_pets import system


def test_errors_fall_with_the_data_and_the_return_is_what_is_made_of_the_model():
    env = system()
    episodes = [collect(env, Uniform(env.task.action_space), key=jr.key(i)) for i in range(4)]
    seen = []

    def evaluate(learned, key):
        seen.append(int(learned.rows))
        return -1.5

    points = capacity(
        env, {"gp": GP(restarts=1, features=16)}, episodes[:3], episodes[3:], counts=(4, 30), horizon=3,
        evaluate=evaluate, key=jr.key(9),
    )  # fmt: skip
    assert [(p.model, p.transitions) for p in points] == [("gp", 4), ("gp", 30)] and seen == [4, 30]
    assert points[1].held_out_error < 0.5 * points[0].held_out_error and points[1].held_out_error < 0.1
    assert points[1].multi_step_error < points[0].multi_step_error
    assert all(p.training_error < 0.1 and p.returned == -1.5 for p in points)


def test_more_transitions_than_there_are_is_an_error():
    env = system()
    episode = collect(env, Uniform(env.task.action_space), key=jr.key(0))
    with pytest.raises(ValueError, match="13 transitions were asked for, and there are 12"):
        capacity(env, {}, [episode], [episode], counts=(13,), key=jr.key(0))


def test_what_is_not_finite_is_null():
    row = as_rows([CapacityPoint("gp", 4, 0.5, float("inf"), float("nan"), None)])[0]
    assert row == {"model": "gp", "transitions": 4, "training_error": 0.5, "held_out_error": None,
                   "multi_step_error": None, "returned": None}  # fmt: skip
