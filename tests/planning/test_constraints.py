"""Planners that ignore state constraints say so; constraints see the time at which planning starts."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem, Result
from forethought.planning.augmented_lagrangian import constraint_values, has_constraints
from forethought.planning.gradient_shooting import GradientShooting
from forethought.planning.random_shooting import RandomShooting
from forethought.tasks.constrained import Constrained
from tests.linear import QuadraticTask, double_integrator

PLANNERS = {
    "random-shooting": RandomShooting(hold=1, horizon=4, population=8, particles=1),
    "gradient-shooting": GradientShooting(horizon=4, guesses=1, iterations=1),
}
SLOW_ENOUGH = Constrained(QuadraticTask(), lambda x, u, t: jnp.abs(x[1:]) - 0.2)


@pytest.mark.parametrize("name", PLANNERS)
def test_a_planner_that_ignores_constraints_does_not_report_convergence(name):
    problem, planner = Problem(double_integrator(), SLOW_ENOUGH), PLANNERS[name]
    plan = eqx.filter_jit(
        lambda: planner.plan(problem, jnp.array([1.0, 0.0]), planner.init(problem), key=jr.key(0))[0]
    )()
    result = Result(int(plan.result))
    assert result == Result.constraints_ignored and "iLQR" in result.message
    result.throw()  # the plan can be used: no error


def test_a_task_has_constraints_or_not():
    assert has_constraints(SLOW_ENOUGH) and not has_constraints(QuadraticTask())
    assert (
        constraint_values(Problem(double_integrator(), QuadraticTask()), jnp.zeros((3, 2)), jnp.zeros((2, 1))) is None
    )


def test_constraints_see_the_start_time():
    task = Constrained(QuadraticTask(), lambda x, u, t: jnp.atleast_1d(x[0] - t))
    problem = Problem(double_integrator(), task)
    for t0 in (0, 7):
        values = constraint_values(problem.starting_at(t0), jnp.zeros((3, 2)), jnp.zeros((2, 1)))
        np.testing.assert_array_equal(values.stage[:, 0], [-t0, -t0 - 1])
