"""The cost of reaching tasks against a NumPy reference, success, and the point mass around its obstacle."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import HasInitialStates, Task, Trajectory
from forethought.envs.shipped import shipped
from forethought.tasks.end_effector import EndEffectorReaching
from forethought.tasks.point_mass_obstacle import PointMassObstacle

SCENES = ["ArmTwoLink-v0", "ArmSevenJoint-v0", "PegInsertion-v0"]
GAINS = {"ArmTwoLink-v0": [1, 1]} | dict.fromkeys(SCENES[1:], [3, 3, 1, 1, 0.3, 0.3, 0.1])
GOALS = {"ArmTwoLink-v0": [0, 0], "ArmSevenJoint-v0": [0, 0, 0], "PegInsertion-v0": [0, 0, 0, 0, 0, 0.12]}
every_scene = pytest.mark.parametrize("name", SCENES)


@eqx.filter_jit
def costs(task, x, u):
    return task.cost(x, u, jnp.array(0)), task.final_cost(x)


@eqx.filter_jit
def solved(task, xs, alive=None):
    T = xs.shape[0] - 1
    alive = jnp.ones(T + 1, bool) if alive is None else alive
    return task.solved(Trajectory(xs, jnp.zeros((T, task.action_space.size)), jnp.zeros(T + 1), alive))


@every_scene
def test_the_cost_is_that_of_the_formula(name, dtype):
    task, rng = shipped(name).task, np.random.default_rng(0)
    m, goal = task.action_space.size, np.array(GOALS[name])
    x, u = rng.normal(size=task.initial_states.shape[1]), rng.normal(size=m)
    d2 = np.sum((x[2 * m : 2 * m + goal.size] - goal) ** 2)
    points = 0.5 * 10 * d2 + 0.1 * (np.sqrt(1e-5 + d2) - np.sqrt(1e-5))
    torques = 0.5 * np.sum(1e-3 / np.array(GAINS[name]) * u**2)
    cost, final = costs(task, jnp.array(x, dtype), jnp.array(u, dtype))
    assert cost.dtype == final.dtype == dtype
    np.testing.assert_allclose(cost, points + torques, rtol=2e-6)
    np.testing.assert_allclose(final, 10 * points, rtol=2e-6)
    x[2 * m : 2 * m + goal.size] = goal
    np.testing.assert_allclose(costs(task, jnp.array(x, dtype), jnp.zeros(m, dtype)), 0, atol=1e-7)


@every_scene
def test_the_cost_is_convex_and_twice_differentiable_at_the_goal(name):
    """Its Hessian there is l2 + l1 / sqrt(alpha) for each coordinate of the points."""
    task = shipped(name).task
    m, goal = task.action_space.size, np.array(GOALS[name])
    x = np.zeros(task.initial_states.shape[1], np.float32)
    x[2 * m : 2 * m + goal.size] = goal
    C = np.asarray(eqx.filter_jit(lambda task, x: jax.hessian(task.final_cost)(x))(task, jnp.array(x)))
    expected = np.zeros_like(x)
    expected[2 * m : 2 * m + goal.size] = 10 * (10 + 0.1 / np.sqrt(1e-5))
    np.testing.assert_allclose(C, np.diag(expected), rtol=1e-4, atol=1e-3)


@every_scene
def test_initial_states_are_chosen_by_the_key(name):
    task = shipped(name).task
    assert isinstance(task, Task) and isinstance(task, HasInitialStates) and isinstance(task, EndEffectorReaching)
    starts = np.asarray(jax.jit(jax.vmap(lambda key: task.initial(key=key)))(jr.split(jr.key(0), 200)))
    found, counts = np.unique(starts, axis=0, return_counts=True)
    np.testing.assert_array_equal(found, np.unique(task.initial_states, axis=0))
    assert len(found) == 4 and counts.min() > 30
    assert not task.terminal(task.initial_states[0])
    for x in task.initial_states:
        assert not solved(task, jnp.tile(x, (task.horizon + 1, 1)))


def test_a_peg_on_the_floor_of_its_slot_succeeds_and_one_two_centimeters_above_does_not():
    from tests.dynamics.test_scene import peg_on_floor

    task = shipped("PegInsertion-v0").task
    start = np.asarray(task.initial_states[0])
    for slot in ((0.0, 0.0), (0.08, -0.08)):
        for up, expected in ((0.0, True), (0.009, True), (0.011, False), (0.02, False)):
            xs = np.tile(start, (task.horizon + 1, 1))
            xs[-1] = peg_on_floor(slot, up)  # only the last state counts
            assert bool(solved(task, jnp.array(xs))) == expected
    assert not solved(task, jnp.array(xs[::-1].copy()))
    assert not solved(task, jnp.array(xs), jnp.arange(task.horizon + 1) < task.horizon)


@pytest.mark.parametrize("name", SCENES[:2])
def test_a_reached_target_must_be_held_for_half_a_second(name):
    task = shipped(name).task
    m, a = task.action_space.size, len(task.goals[0])
    xs = np.tile(np.asarray(task.initial_states[0]), (task.horizon + 1, 1))
    for still, expected in ((11, True), (10, False)):  # states, 10 steps of 0.05 s between 11 of them
        reached = xs.copy()
        reached[-still:, 2 * m : 2 * m + a] = 0.029 / np.sqrt(a)
        assert bool(solved(task, jnp.array(reached))) == expected
    reached[-11:, 2 * m : 2 * m + a] = 0.031 / np.sqrt(a)
    assert not solved(task, jnp.array(reached))


def test_the_obstacle_is_penalized_smoothly_and_only_nearby():
    task = PointMassObstacle()
    xs = np.zeros((400, 4))
    xs[:, :2] = np.random.default_rng(1).uniform(-1, 1, (400, 2)) + [-1, 0.1]
    d = np.hypot(xs[:, 0] + 1, xs[:, 1] - 0.1)
    expected = 50 * np.where(d < 0.6, (1 - d**2 / 0.36) ** 3, 0)
    found = jax.jit(jax.vmap(task.obstacle_penalty))(jnp.array(xs, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    edge = jnp.array([[-1.0, 0.7], [-1.0, 0.70001]]), jnp.array([0.0, 0.0])
    curvature = jax.jit(jax.vmap(jax.hessian(lambda p: task.obstacle_penalty(jnp.concatenate([p, edge[1]])))))(edge[0])
    np.testing.assert_allclose(curvature, 0, atol=0.02)  # continuous at the end of the margin


def test_a_trajectory_through_the_obstacle_is_not_solved():
    task, T = PointMassObstacle(), 100
    around = np.zeros((T + 1, 4), np.float32)
    around[:60, 0] = np.linspace(-2, 0, 60)
    around[:60, 1] = -0.6 * np.sin(np.linspace(0, np.pi, 60))
    assert solved(task, jnp.array(around))
    straight = around.copy()
    straight[:, 1] = 0
    assert not solved(task, jnp.array(straight))
    jump = straight.copy()  # over the obstacle in one step: all states are outside of it
    jump[:60, 0] = np.where(jump[:60, 0] < -1, -2, 0)
    assert not solved(task, jnp.array(jump))
    early = around.copy()
    early[-5] = [0.11, 0, 0, 0]
    assert not solved(task, jnp.array(early))
    fast = around.copy()
    fast[-5] = [0, 0, 0.21, 0]
    assert not solved(task, jnp.array(fast))
