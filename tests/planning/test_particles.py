import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Delta, DiagonalGaussian, Problem
from forethought.planning import particles as particles_module
from forethought.planning.particles import expected_cost, open_loop_plan
from tests.linear import Linear, QuadraticTask, double_integrator


class Drift(eqx.Module):
    """x' = x + rate (+ noise), whatever the action."""

    rate: jnp.ndarray
    std: jnp.ndarray

    def __call__(self, x, u, t):
        return DiagonalGaussian(x + self.rate, jnp.broadcast_to(self.std, x.shape))

    def draw(self, *, key):
        return self


class Drifts(eqx.Module):
    """A posterior of two members."""

    each: Drift

    def __call__(self, x, u, t):
        raise AssertionError("particles believe in members, not in their mixture")

    def draw(self, *, key):
        raise AssertionError("particles come grouped by member")

    def draw_many(self, count, *, key):
        return self.each, count // 2


class LastSquare(QuadraticTask):
    def cost(self, x, u, t):
        return jnp.zeros(())

    def final_cost(self, x):
        return x[0] ** 2


def costs_of(problem, us, x0=None, *, particles=1, propagation="ts-inf", seed=0):
    x0 = jnp.array([1.0, 0.0]) if x0 is None else x0
    return expected_cost(problem, x0, us, particles=particles, propagation=propagation, key=jr.key(seed))


def reference_cost(system, task, x, us):
    """One candidate by a plain loop, with termination."""
    total, alive = 0.0, True
    A, B = np.asarray(system.A), np.asarray(system.B)
    for u in np.asarray(us):
        total += alive * (x @ x + task.effort * u @ u)
        x = A @ x + B @ u
        alive = alive and abs(x[0]) <= task.edge
    return total + alive * task.final * x @ x


@pytest.mark.parametrize("edge", [float("inf"), 1.05])
@pytest.mark.parametrize("propagation", ["ts-inf", "ts1", "mean"])
def test_deterministic_system_costs_what_a_loop_says(propagation, edge):
    problem = Problem(double_integrator(), QuadraticTask(edge=edge))
    us = jr.uniform(jr.key(1), (6, 20, 1), minval=-1.0, maxval=1.0)
    expected = [reference_cost(problem.dynamics, problem.task, np.array([1.0, 0.3]), u) for u in us]
    actual = costs_of(problem, us, jnp.array([1.0, 0.3]), particles=2, propagation=propagation)
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


@pytest.mark.parametrize("propagation", ["ts-inf", "ts1"])
def test_many_coordinates_cost_what_few_cost(propagation, monkeypatch):
    """Few are kept apart, many together."""
    problem = Problem(double_integrator(std=0.1), QuadraticTask(edge=1.05))
    us = jr.uniform(jr.key(1), (6, 20, 1), minval=-1.0, maxval=1.0)
    apart = costs_of(problem, us, particles=2, propagation=propagation)
    monkeypatch.setattr(particles_module, "FEW", 1)
    np.testing.assert_allclose(costs_of(problem, us, particles=2, propagation=propagation), apart, rtol=1e-5)


class Simulated(Linear):
    """The same system, which simulates many sequences at once and refuses to be stepped."""

    def __call__(self, x, u, t):
        raise AssertionError("a simulator is handed all sequences together")

    def simulate(self, x0, us):
        def path(us):
            xs = [x0]
            for u in us:
                xs.append(self.A @ xs[-1] + self.B @ u)
            return jnp.stack(xs)

        return jax.vmap(path)(us)


@pytest.mark.parametrize("edge", [float("inf"), 1.05])
def test_a_simulator_costs_what_a_loop_says(edge):
    system = double_integrator()
    problem = Problem(Simulated(system.A, system.B), QuadraticTask(edge=edge))
    us = jr.uniform(jr.key(1), (6, 20, 1), minval=-1.0, maxval=1.0)
    expected = [reference_cost(system, problem.task, np.array([1.0, 0.3]), u) for u in us]
    np.testing.assert_allclose(costs_of(problem, us, jnp.array([1.0, 0.3]), particles=3), expected, rtol=1e-4)
    plan = open_loop_plan(problem, jnp.array([1.0, 0.3]), us[0], jnp.array(1.0))
    assert plan.xs.shape == (21, 2)


def test_average_over_members():
    members = Drifts(Drift(jnp.array([0.1, -0.3]), jnp.zeros(2)))
    cost = costs_of(Problem(members, LastSquare()), jnp.zeros((3, 10, 1)), jnp.zeros(1), particles=4)
    np.testing.assert_allclose(cost, 0.5 * (1.0**2 + 3.0**2), rtol=1e-4)


def test_members_are_kept_for_the_horizon_or_exchanged():
    """Rates +-1: kept, x_T^2 = T^2; redrawn at every step, E x_T^2 is about T."""
    problem = Problem(Drifts(Drift(jnp.array([1.0, -1.0]), jnp.zeros(2))), LastSquare())
    us = jnp.zeros((1, 16, 1))
    kept = costs_of(problem, us, jnp.zeros(1), particles=2000, propagation="ts-inf")[0]
    exchanged = costs_of(problem, us, jnp.zeros(1), particles=2000, propagation="ts1")[0]
    assert kept == pytest.approx(256, rel=1e-4)
    assert exchanged == pytest.approx(16, rel=0.2)


def test_noise_is_sampled_unless_the_mean_is_asked_for():
    problem = Problem(Linear(jnp.eye(1), jnp.zeros((1, 1)), 0.5), LastSquare())
    us = jnp.zeros((1, 8, 1))
    noisy = costs_of(problem, us, jnp.zeros(1), particles=4000)[0]
    assert noisy == pytest.approx(8 * 0.25, rel=0.1)
    assert costs_of(problem, us, jnp.zeros(1), propagation="mean")[0] == 0


def test_divergence_costs_infinity():
    problem = Problem(Linear(1e30 * jnp.eye(2), jnp.zeros((2, 1))), QuadraticTask())
    assert jnp.isposinf(costs_of(problem, jnp.zeros((2, 20, 1)))).all()


def test_open_loop_plan_predicts_the_states():
    problem = Problem(double_integrator(), QuadraticTask())
    us = jr.normal(jr.key(0), (5, 1))
    plan = open_loop_plan(problem, jnp.array([1.0, 0.0]), us, jnp.array(1.0))
    x = np.array([1.0, 0.0])
    for t, u in enumerate(np.asarray(us)):
        np.testing.assert_allclose(plan.xs[t], x, rtol=1e-5)
        x = np.asarray(problem.dynamics.A) @ x + np.asarray(problem.dynamics.B) @ u
    np.testing.assert_allclose(plan.us, us)


class Certain(Linear):
    """x' = A x + B u, known to be without noise."""

    def __call__(self, x, u, t):
        return Delta(self.A @ x + self.B @ u)


def test_a_certain_model_needs_one_particle():
    """As many as are asked for cost the same, and are not computed."""
    base = double_integrator()
    problem = Problem(Certain(base.A, base.B), QuadraticTask(edge=1.05))
    us = jr.uniform(jr.key(1), (6, 20, 1), minval=-1.0, maxval=1.0)
    noisy = costs_of(Problem(base, problem.task), us, particles=3)
    np.testing.assert_allclose(costs_of(problem, us, particles=3), noisy, rtol=1e-5)
    x0, key = jnp.zeros(2), jr.key(0)

    def program(problem):
        score = lambda us: expected_cost(problem, x0, us, particles=50, propagation="ts-inf", key=key)  # noqa: E731
        return str(jax.make_jaxpr(score)(us))

    assert "[50" in program(Problem(base, problem.task)) and "random" in program(Problem(base, problem.task))
    assert "[50" not in program(problem) and "random" not in program(problem)
