"""Every shipped task: shapes, limits, costs with known values, and its own test for being solved."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Task, Trajectory
from forethought.tasks.acrobot import AcrobotSwingUp
from forethought.tasks.car import CarParking
from forethought.tasks.cartpole import CartPoleSwingUp
from forethought.tasks.costs import holds_at_end, saturating
from forethought.tasks.pendulum import PendulumSwingUp
from forethought.tasks.quadrotor import QuadrotorHover
from forethought.tasks.reacher import ReacherTwoLink

PI = np.pi
# task, its goal state, an action that holds it there, the index of a coordinate that must be small for it to count
TASKS = {
    "cartpole": (CartPoleSwingUp(), [0, 0, PI, 0], [0], 3),
    "pendulum": (PendulumSwingUp(), [PI, 0], [0], 1),
    "acrobot": (AcrobotSwingUp(), [PI, 0, 0, 0], [0], 3),
    "reacher": (ReacherTwoLink(target_x=0.5, target_y=0.5), [0, PI / 2, 0, 0], [0, 0], 0),
    "car": (CarParking(), [0, 0, 0, 0], [0, 0], 2),
    "quadrotor": (QuadrotorHover(), [0, 1, 0, 0, 0, 0], [4.905, 4.905], 3),
}
every_task = pytest.mark.parametrize("name", TASKS)


@eqx.filter_jit
def solved(task, trajectory):
    return task.solved(trajectory)


def resting_at(task, x, u):
    T = task.horizon
    xs, us = np.tile(np.array(x, np.float32), (T + 1, 1)), np.tile(np.array(u, np.float32), (T, 1))
    return Trajectory(jnp.array(xs), jnp.array(us), jnp.zeros(T + 1), jnp.ones(T + 1, bool))


@every_task
def test_the_goal_costs_nothing_and_everything_else_more(name, dtype):
    task, goal, hold, _ = TASKS[name]
    hold, t = jnp.array(hold, dtype), jnp.array(0)
    others = np.array(goal) + np.random.default_rng(0).normal(size=(50, len(goal)))
    xs = jnp.array(np.vstack([goal, others]), dtype)
    costs, finals = jax.jit(jax.vmap(lambda x: (task.cost(x, hold, t), task.final_cost(x))))(xs)
    assert costs.dtype == finals.dtype == dtype
    np.testing.assert_allclose([costs[0], finals[0]], 0, atol=1e-5)
    assert (costs[1:] > 0).all() and (finals[1:] > 0).all()


@every_task
def test_shapes_limits_and_start(name):
    task, goal, hold, _ = TASKS[name]
    assert isinstance(task, Task)
    assert task.u_min.shape == task.u_max.shape == (len(hold),)
    assert (np.asarray(task.u_min) < task.u_max).all()
    starts = np.asarray(jax.jit(jax.vmap(lambda key: task.initial(key=key)))(jr.split(jr.key(0), 200)))
    assert starts.shape == (200, len(goal))
    assert (starts.std(0)[: 2 if name == "reacher" else None] > 0).all()
    assert not task.terminal(jnp.array(starts[0]))
    assert not solved(task, resting_at(task, starts[0], hold)), "a task must not be solved from the start"


@every_task
def test_solved_means_the_goal_is_held_to_the_end(name):
    task, goal, hold, careful = TASKS[name]
    there = resting_at(task, goal, hold)
    assert solved(task, there)
    late = np.asarray(there.xs).copy()
    late[: task.horizon // 2] = 0
    assert solved(task, eqx.tree_at(lambda tr: tr.xs, there, jnp.array(late)))
    for t in (-1, -int(0.5 / task.dt)):
        for off in (1.1, -1.1):
            xs = np.asarray(there.xs).copy()
            xs[t, careful] += off
            assert not solved(task, eqx.tree_at(lambda tr: tr.xs, there, jnp.array(xs)))
    dead = jnp.arange(task.horizon + 1) < task.horizon
    assert not solved(task, eqx.tree_at(lambda tr: tr.alive, there, dead))


def test_saturating_cost_at_its_width_and_its_limits(dtype):
    at = lambda d, width: saturating(jnp.array(d, dtype) ** 2, width=width)  # noqa: E731
    np.testing.assert_allclose(at(0.25, 0.25), 1 - np.exp(-0.5), rtol=1e-6)
    assert at(0.0, 0.25) == 0 and at(1e3, 0.25) == 1
    np.testing.assert_allclose(at(1e-3, 1.0), 0.5e-6, rtol=1e-5)  # a naive 1 - exp loses this in float32


def test_cartpole_cost_is_that_of_the_tip():
    task = CartPoleSwingUp()
    x = jnp.array([0.2, 0.0, 2.5, 0.0])
    tip = np.array([0.2 + 0.5 * np.sin(2.5), -0.5 * np.cos(2.5)])
    expected = 1 - np.exp(-np.sum((tip - [0, 0.5]) ** 2) / (2 * 0.25**2))
    np.testing.assert_allclose(task.cost(x, jnp.zeros(1), jnp.array(0)), expected, rtol=1e-5)
    assert CartPoleSwingUp(cost_width=0.5).final_cost(x) < task.final_cost(x)


def test_holds_at_end_counts_the_states_of_the_last_second():
    flags = jnp.arange(41) >= 30
    assert holds_at_end(flags, seconds=1.0, dt=0.1)
    assert not holds_at_end(flags.at[30].set(False), seconds=1.0, dt=0.1)
    assert not holds_at_end(flags, seconds=1.1, dt=0.1)


@every_task
def test_a_task_is_a_value(name):
    task, *_ = TASKS[name]
    same = type(task)(**vars(task))
    assert hash(task) == hash(same)
    with pytest.raises(AttributeError):
        task.horizon = 3
