"""Every shipped task: shapes, limits, costs with known values, and its own test for being solved."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Gaussian, Task, Trajectory
from forethought.tasks.acrobot_swing_up import AcrobotSwingUp
from forethought.tasks.car_parking import CarParking
from forethought.tasks.cart_double_pendulum_swing_up import CartDoublePendulumSwingUp
from forethought.tasks.cartpole_swing_up import CartPoleSwingUp
from forethought.tasks.costs import holds_at_end, saturating
from forethought.tasks.pendulum_swing_up import PendulumSwingUp
from forethought.tasks.point_mass_obstacle import PointMassObstacle
from forethought.tasks.quadrotor_hover import QuadrotorHover
from forethought.tasks.two_link_reaching import ReacherTwoLink

PI = np.pi
# task, its goal state, an action that holds it there, the index of a coordinate that must be small for it to count
TASKS = {
    "cartpole": (CartPoleSwingUp(), [0, 0, PI, 0], [0], 3),
    "cart_double": (CartDoublePendulumSwingUp(), [0, 0, PI, PI, 0, 0], [0], 5),
    "pendulum": (PendulumSwingUp(), [PI, 0], [0], 1),
    "acrobot": (AcrobotSwingUp(), [PI, 0, 0, 0], [0], 3),
    "reacher": (ReacherTwoLink(target_x=0.5, target_y=0.5), [0, PI / 2, 0, 0], [0, 0], 0),
    "car": (CarParking(), [0, 0, 0, 0], [0, 0], 2),
    "point_mass": (PointMassObstacle(), [0, 0, 0, 0], [0, 0], 0),
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
    assert task.action_space.low.shape == task.action_space.high.shape == (len(hold),)
    assert (np.asarray(task.action_space.low) < task.action_space.high).all()
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


def test_cart_double_pendulum_cost_is_that_of_the_tip():
    task, x = CartDoublePendulumSwingUp(), jnp.array([0.2, 0.0, 2.5, 3.5, 0.0, 0.0])
    tip = np.array([0.2 + 0.6 * np.sin(2.5) + 0.6 * np.sin(3.5), -0.6 * np.cos(2.5) - 0.6 * np.cos(3.5)])
    expected = 1 - np.exp(-np.sum((tip - [0, 1.2]) ** 2) / (2 * 0.5**2))
    np.testing.assert_allclose(task.final_cost(x), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "places", "speeds"), [("cartpole", [0, 2], [1, 3]), ("cart_double", [0, 2, 3], [1, 4, 5])]
)
def test_the_tip_moves_as_its_velocity_says(name, places, speeds):
    task, goal, *_ = TASKS[name]
    x = jnp.linspace(0.3, 2.0, len(goal))
    along = jnp.zeros_like(x).at[jnp.array(places)].set(x[jnp.array(speeds)])
    np.testing.assert_allclose(task.tip_velocity(x), jax.jvp(task.tip_offset, (x,), (along,))[1], rtol=1e-5)


def uncertain(task, at, spread):
    """A Gaussian over `[x; u]` with odd correlations, and samples of it."""
    d = len(at) + task.action_space.size
    rng = np.random.default_rng(4)
    root = spread * rng.normal(size=(d, d)) / np.sqrt(d)
    mean = np.append(np.asarray(at) + 0.4, 0.3)
    zs = mean + rng.normal(size=(200_000, d)) @ root.T
    return Gaussian(jnp.asarray(mean), jnp.asarray(root @ root.T)), jnp.asarray(zs)


@pytest.mark.parametrize("name", ["cartpole", "pendulum", "cart_double"])
def test_cost_moments_equal_sampling(name):
    """Where states are known well, a Gaussian tip is the true one; the mean of a quadratic is exact at any spread."""
    task, at, _, _ = TASKS[name]
    n, now = len(at), jnp.array(0)
    with jax.enable_x64(True):
        for spread in (0.05, *([0.8] if name == "pendulum" else [])):
            p, zs = uncertain(task, at, spread)
            costs = np.asarray(jax.jit(jax.vmap(lambda z: task.cost(z[:n], z[n:], now)))(zs))
            mean, variance = jax.jit(task.cost_moments)(p, now)
            np.testing.assert_allclose(mean, costs.mean(), rtol=0.01)
            if spread < 0.1:
                np.testing.assert_allclose(variance, costs.var(), rtol=0.05)
        certain = Gaussian.point(p.mean)
        mean, variance = jax.jit(task.cost_moments)(certain, now)
        np.testing.assert_allclose([mean, variance], [task.cost(p.mean[:n], p.mean[n:], now), 0], atol=1e-12)


@pytest.mark.parametrize("name", ["cartpole", "cart_double"])
def test_cost_moments_are_those_of_a_gaussian_tip_however_uncertain(name):
    """The tip has the moments of its samples; the cost is what a Gaussian with those moments costs, smoothed or not."""
    task, at, _, _ = TASKS[name]
    n, now = len(at), jnp.array(0)
    with jax.enable_x64(True):
        p, zs = uncertain(task, at, 0.8)
        tips = np.asarray(jax.jit(jax.vmap(lambda z: task.tip_offset(z[:n])))(zs))
        for smoothing in (0.0, 0.4):
            noise = np.random.default_rng(1).normal(size=tips.shape)
            like = tips.mean(0) + noise @ np.linalg.cholesky(np.cov(tips.T) + smoothing**2 * np.eye(2)).T
            costs = 1 - np.exp(-np.sum(like**2, 1) / (2 * task.cost_width**2))
            mean, variance = jax.jit(task.cost_moments)(p, now, smoothing=jnp.array(smoothing))
            np.testing.assert_allclose(mean, costs.mean(), rtol=0.01)
            np.testing.assert_allclose(variance, costs.var(), rtol=0.03)


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
