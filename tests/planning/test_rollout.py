"""One rollout for known and learned dynamics: against the environment, exact moments, and the task's end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Box, DiagonalGaussian, Discrete, LinearGaussian, Problem
from forethought.envs.shipped import shipped
from forethought.planning.mpc import MPC
from forethought.planning.random_shooting import RandomShooting
from forethought.planning.rollout import follow, rollout, stage_costs
from forethought.policies.acting import Acting
from forethought.policies.uniform import Uniform

ENV = shipped("CartPoleSwingUp-v0")


class Tilt(eqx.Module):
    """u = k [angle + angle rate]."""

    k: float = 3.0

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return self.k * (x[2:3] + x[3:4]), carry


def test_a_known_problem_rolls_out_as_its_environment_does():
    episode = ENV.run(Tilt(), key=jr.key(0))
    trajectory = jax.jit(lambda x0: rollout(ENV.problem, Tilt(), x0, key=jr.key(1)))(jnp.asarray(episode.x[0]))
    np.testing.assert_allclose(trajectory.xs[:-1], episode.x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trajectory.us, episode.u, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(trajectory.costs[:-1], -episode.reward, rtol=1e-4, atol=1e-4)
    assert trajectory.alive.all()


class Offsets(eqx.Module):
    """x' = x + u + b; the posterior of b is N(0, 1)."""

    b: jax.Array
    std: float = 0.0

    def __call__(self, x, u, t):
        return DiagonalGaussian(x + u + self.b, jnp.full(1, self.std))

    def draw(self, *, key):
        return Offsets(jr.normal(key, (1,)), self.std)


class Zero(eqx.Module):
    """No cost; over beyond `bound`."""

    bound: float = jnp.inf
    horizon: int = 9
    dt: float = 1.0
    action_space: Box | Discrete = eqx.field(default_factory=lambda: Box.symmetric(jnp.ones(1)))

    def initial(self, *, key):
        return jnp.zeros(1)

    def cost(self, x, u, t):
        return 1.0 + 0 * x[0] + t

    def final_cost(self, x):
        return jnp.full((), 100.0)

    def terminal(self, x):
        return x[0] > self.bound

    def solved(self, trajectory):
        return None


STILL = Acting(LinearGaussian(jnp.zeros((1, 1)), jnp.zeros(1), jnp.zeros((1, 1))))


@pytest.mark.parametrize(("redraw", "variance"), [(False, 81.0), (True, 9.0)])
def test_one_function_for_all_steps_or_another_at_each(redraw, variance):
    """After 9 steps the state is 9 b, or the sum of nine b's."""

    def last(key):
        return rollout(Problem(Offsets(jnp.zeros(1)), Zero()), STILL, jnp.zeros(1), redraw=redraw, key=key).xs[-1, 0]

    ends = jax.jit(jax.vmap(last))(jr.split(jr.key(0), 4000))
    np.testing.assert_allclose(jnp.var(ends), variance, rtol=0.1)


def test_noise_is_drawn_at_each_step():
    class Certain(Offsets):
        def draw(self, *, key):
            return self

    def last(key):
        return rollout(Problem(Certain(jnp.zeros(1), 0.5), Zero()), STILL, jnp.zeros(1), key=key).xs[-1, 0]

    ends = jax.jit(jax.vmap(last))(jr.split(jr.key(0), 4000))
    np.testing.assert_allclose(jnp.var(ends), 9 * 0.25, rtol=0.1)


class Forward(eqx.Module):
    """u = 5, beyond the limits."""

    def init(self, x0, *, key):
        return ()

    def act(self, x, t, carry, *, key):
        return jnp.full(1, 5.0), carry


class Sure(Offsets):
    def draw(self, *, key):
        return self


def test_the_step_that_ends_the_task_is_charged_and_nothing_after_it():
    problem = Problem(Sure(jnp.zeros(1)), Zero(bound=2.5), jnp.array(10))
    trajectory = rollout(problem, Forward(), jnp.zeros(1), steps=5, key=jr.key(0))
    np.testing.assert_array_equal(trajectory.us, np.ones((5, 1)))
    np.testing.assert_array_equal(trajectory.xs[:, 0], np.arange(6))
    np.testing.assert_array_equal(trajectory.alive, [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(trajectory.costs, [11, 12, 13, 0, 0, 0])
    without_end = rollout(Problem(Sure(jnp.zeros(1)), Zero()), Forward(), jnp.zeros(1), steps=2, key=jr.key(0))
    np.testing.assert_array_equal(without_end.costs, [1, 2, 100])


def test_controllers_with_memory_and_discrete_actions():
    planner = RandomShooting(hold=1, horizon=3, population=8, particles=1)
    planned = rollout(ENV.problem, MPC(planner, ENV.problem), jnp.zeros(4), steps=4, key=jr.key(0))
    assert planned.us.shape == (4, 1) and jnp.isfinite(planned.costs).all()

    class Choice(Sure):
        def __call__(self, x, u, t):
            return DiagonalGaussian(x + u, jnp.zeros(1))

    task = Zero(action_space=Discrete(3))
    chosen = rollout(Problem(Choice(jnp.zeros(1)), task), Uniform(task.action_space), jnp.zeros(1), key=jr.key(0))
    assert chosen.us.shape == (9,) and jnp.issubdtype(chosen.us.dtype, jnp.integer)
    np.testing.assert_allclose(jnp.diff(chosen.xs[:, 0]), chosen.us)


def test_following_the_means_is_the_rollout_without_noise():
    us = jnp.linspace(-3, 3, 8)[:, None]
    xs, same = follow(ENV.problem, jnp.zeros(4), lambda x, i: us[i], 8)

    class Open(Tilt):
        def act(self, x, t, carry, *, key):
            return us[t], carry

    trajectory = rollout(ENV.problem, Open(), jnp.zeros(4), steps=8, key=jr.key(0))
    np.testing.assert_array_equal(same, us)
    np.testing.assert_allclose(trajectory.xs, xs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(trajectory.costs, stage_costs(ENV.problem, xs, us), rtol=1e-5)
