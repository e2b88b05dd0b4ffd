"""iLQR against LQR, dense Newton steps, finite differences and a general optimizer; limits, constraints, batches."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import LinearGaussian, Problem, Quadratic, Result, Trajectory
from forethought.dynamics.car import Car
from forethought.dynamics.learned import LearnedDynamics
from forethought.dynamics.pendulum import Pendulum
from forethought.dynamics.space import StateSpace
from forethought.envs.shipped import SHIPPED, shipped
from forethought.models.gp.process import GP
from forethought.planning.backward import backward
from forethought.planning.expansion import convexified, expand
from forethought.planning.ilqr import ILQR, start
from forethought.planning.lqr import solve_lqr
from forethought.planning.rollout import follow, stage_costs
from forethought.tasks.car_parking import CarParking
from forethought.tasks.constrained import Constrained
from forethought.tasks.pendulum_swing_up import PendulumSwingUp
from tests.linear import Linear, QuadraticTask, double_integrator
from tests.planning.test_planners import optimum

ONE = ILQR(horizon=12, starts=1)
INFINITE = float("inf")


@eqx.filter_jit
def plan_from(planner, problem, x0, key):
    return planner.plan(problem, x0, planner.init(problem), key=key)


def total_cost(problem, x0, us):
    xs, us = follow(problem, x0, lambda x, t: us[t], us.shape[0])
    return jnp.sum(stage_costs(problem, xs, us))


@eqx.filter_jit
def finite_difference_gradient(problem, plan, step=1e-5):
    """Central differences of the cost by every action, in float64, while the plan's feedback is on.

    It vanishes where the gradient of the action sequence does: each is the other, multiplied by an invertible matrix.
    But without feedback a pendulum that stands for seconds multiplies rounding by 1e10.
    """
    low, high = problem.task.action_space.low, problem.task.action_space.high
    shifts = step * jnp.eye(plan.us.size).reshape(plan.us.size, *plan.us.shape)

    def cost(shift):
        act = lambda x, t: jnp.clip(plan.policy.F[t] @ x + plan.policy.f[t], low, high) + shift[t]  # noqa: E731
        return jnp.sum(stage_costs(problem, *follow(problem, plan.xs[0], act, plan.us.shape[0])))

    ends = jax.lax.map(lambda shift: (cost(shift), cost(-shift)), shifts)
    return ((ends[0] - ends[1]) / (2 * step)).reshape(plan.us.shape)


def projected_gradient(problem, plan):
    """Without what pushes an action at its limit outwards; by the action's half range, relative to the cost."""
    low, high = np.asarray(problem.task.action_space.low), np.asarray(problem.task.action_space.high)
    us, gradient = np.clip(plan.us, low, high), np.asarray(finite_difference_gradient(problem, plan))
    at_low, at_high = us <= low + 1e-9 * (high - low), us >= high - 1e-9 * (high - low)
    gradient = np.where((at_low & (gradient > 0)) | (at_high & (gradient < 0)), 0, gradient)
    return np.abs(gradient * (high - low) / 2).max() / float(plan.cost)


def test_without_limits_a_linear_problem_is_solved_by_lqr(dtype):
    system = jax.tree.map(lambda a: a.astype(dtype), double_integrator())
    problem = Problem(system, QuadraticTask(limit=INFINITE, final=10.0))
    plan, state = plan_from(ONE, problem, jnp.array([1.0, 0.5], dtype), jr.key(0))
    stack = lambda a: jnp.broadcast_to(a, (12, *a.shape))  # noqa: E731
    dynamics = LinearGaussian(
        stack(jnp.hstack([system.A, system.B])), jnp.zeros((12, 2), dtype), jnp.zeros((12, 2, 2), dtype)
    )
    cost = Quadratic(
        stack(jnp.diag(jnp.array([2.0, 2.0, 0.2], dtype))), jnp.zeros((12, 3), dtype), jnp.zeros(12, dtype)
    )
    final = Quadratic(20 * jnp.eye(2, dtype=dtype), jnp.zeros(2, dtype), jnp.zeros((), dtype))
    exact = eqx.filter_jit(solve_lqr)(dynamics, cost, final)
    assert int(plan.result) == Result.converged and plan.xs.dtype == dtype
    tolerance = 1e-6 if dtype == jnp.float64 else 1e-3
    np.testing.assert_allclose(plan.policy.F, exact.policy.F, atol=tolerance)
    np.testing.assert_allclose(plan.policy.f, 0, atol=1e-3)  # as exact as the gradient's tolerance
    np.testing.assert_allclose(plan.cost, jax.tree.map(lambda a: a[0], exact.values)(plan.xs[0]), rtol=1e-5)
    np.testing.assert_array_equal(state.us[:-1], plan.us[1:])


def test_limits_are_exact_and_the_optimum_is_the_dense_one():
    with jax.enable_x64(True):
        problem = Problem(jax.tree.map(lambda a: a.astype(float), double_integrator()), QuadraticTask(final=10.0))
        plan, _ = plan_from(ONE, problem, jnp.array([1.0, 0.0]), jr.key(0))
        assert int(plan.result) == Result.converged
        np.testing.assert_allclose(plan.cost, optimum(problem, plan.xs[0]), rtol=1e-8)
        held = np.abs(np.abs(plan.us) - 1) < 1e-12
        assert held.any() and not held.all() and np.abs(plan.us).max() <= 1 + 1e-12
        np.testing.assert_array_equal(np.asarray(plan.policy.F)[held[:, 0]], 0)  # no feedback from a held action


@pytest.mark.parametrize(("second_order", "bounded"), [(True, False), (False, True)])
def test_the_backward_pass_is_the_newton_step_of_the_whole_sequence(second_order, bounded):
    """Against the dense Hessian of the cost by all actions; without curvature, that of the linearized rollout."""
    with jax.enable_x64(True):
        problem, T = Problem(Pendulum(), PendulumSwingUp(torque_limit=INFINITE)), 6
        x0, us = jnp.array([3.0, 0.4]), 0.3 * jr.normal(jr.key(0), (6, 1))
        follow_and_expand = lambda us: expand(  # noqa: E731
            problem, follow(problem, x0, lambda x, t: us[t], T)[0], us, second_order=second_order
        )
        expansion = jax.jit(follow_and_expand)(us)
        damping, wide = jnp.array([0.0, 0.0, 0.7]), jnp.full((T, 1), INFINITE)
        bounds = (-wide, wide) if bounded else None
        correction = jax.jit(backward)(expansion, damping, jnp.ones(1), bounds)
        assert correction.positive

        def cost(change):
            if second_order:
                return total_cost(problem, x0, us + change)
            dx, total = jnp.zeros(2), 0.0
            for t in range(T):
                z = jnp.concatenate([dx, change[t]])
                total += jax.tree.map(lambda a, t=t: a[t], expansion.cost)(z)
                dx = expansion.F[t] @ z
            return total + expansion.final(dx)

        gradient, hessian = jax.jit(lambda change: (jax.grad(cost)(change), jax.hessian(cost)(change)))(0 * us)
        gradient, hessian = np.asarray(gradient).ravel(), np.asarray(hessian).reshape(T, T)
        dense = -np.linalg.solve(hessian + 0.7 * np.eye(T), gradient)
        F, K, k = (np.asarray(a) for a in (expansion.F, correction.K, correction.k))
        dx, change = np.zeros(2), []
        for t in range(T):  # follow the affine policy through the linear dynamics
            change.append(k[t] + K[t] @ dx)
            dx = F[t] @ np.concatenate([dx, change[-1]])
        np.testing.assert_allclose(np.concatenate(change), dense, rtol=1e-8)
        np.testing.assert_allclose(correction.slope, gradient @ dense, rtol=1e-8)


def test_second_order_converges_quadratically_where_the_first_order_is_slow():
    with jax.enable_x64(True):
        problem = Problem(Pendulum(), PendulumSwingUp(torque_limit=INFINITE, torque_weight=0.1))
        steps = {}
        for second_order in (True, False):
            planner = ILQR(horizon=20, starts=1, second_order=second_order, tolerance=1e-10)
            steps[second_order], cost = _iterations(planner, problem, jnp.array([2.0, 0.0]))
        assert steps[True] < steps[False]


@eqx.filter_jit
def _iterations(planner, problem, x0):
    from forethought.planning.ilqr import solve

    search = solve(planner, problem, start(planner, problem, x0, planner.init(problem).us.astype(x0.dtype)), 200)
    return search.steps, search.cost


def test_convexified_hessians_are_the_nearest_convex_ones():
    with jax.enable_x64(True):
        C = jr.normal(jr.key(0), (3, 4, 4))
        expansion = expand(
            Problem(Pendulum(), PendulumSwingUp()), jnp.zeros((4, 2)), jnp.zeros((3, 1)), second_order=False
        )
        C = expansion.cost.C.at[:].set((C + C.transpose(0, 2, 1))[:, :3, :3])
        convex = convexified(eqx.tree_at(lambda e: e.cost.C, expansion, C)).cost.C
        values, vectors = np.linalg.eigh(C)
        np.testing.assert_allclose(
            convex, (vectors * np.maximum(values, 0)[:, None]) @ vectors.transpose(0, 2, 1), atol=1e-12
        )
        np.testing.assert_allclose(
            convexified(eqx.tree_at(lambda e: e.cost.C, expansion, convex)).cost.C, convex, atol=1e-12
        )


def test_a_model_that_diverges_is_reported_and_actions_stay_finite():
    problem = Problem(jax.tree.map(lambda a: 1e30 * a, double_integrator()), QuadraticTask())
    plan, _ = plan_from(
        ILQR(horizon=12, starts=2, kept=1, screening=3, samples=2, rounds=2), problem, jnp.array([1.0, 0.0]), jr.key(0)
    )
    assert int(plan.result) == Result.not_finite
    assert jnp.isfinite(plan.policy.F).all()


SHORT = ILQR(horizon=30, starts=2, kept=2, iterations=5, samples=4, rounds=3)


@eqx.filter_jit
def improve(planner, problem, x0, search, i, key):
    return planner.improve(problem, x0, search, i, key=key)


def test_anytime_form_improves_and_ends_where_plan_does():
    problem, x0 = Problem(Pendulum(), PendulumSwingUp()), jnp.array([0.5, 0.0])
    plan, _ = plan_from(SHORT, problem, x0, jr.key(3))
    search = eqx.filter_jit(SHORT.begin)(problem, x0, SHORT.init(problem))
    costs = []
    for i in range(5):
        search = improve(SHORT, problem, x0, search, SHORT.stage(i), jr.key(3))
        costs.append(float(search.cost.min()))
    anytime, _ = eqx.filter_jit(SHORT.finish)(problem, x0, search)
    assert costs == sorted(costs, reverse=True)
    np.testing.assert_allclose(anytime.cost, plan.cost, rtol=1e-4)


def test_a_cheaper_unfinished_trajectory_beats_a_converged_one():
    """Hanging at rest is stationary: a start there converges at once, to the cost of doing nothing."""
    problem, x0 = Problem(Pendulum(), PendulumSwingUp()), jnp.zeros(2)
    resting = float(total_cost(problem, x0, jnp.zeros((30, 1))))
    search = eqx.filter_jit(SHORT.begin)(problem, x0, SHORT.init(problem))
    for i in range(2):
        search = improve(SHORT, problem, x0, search, i, jr.key(3))
    assert int(search.result[0]) == Result.converged and float(search.cost[0]) == pytest.approx(resting)
    unfinished = eqx.tree_at(lambda s: s.result, search, search.result.at[1].set(int(Result.budget_exhausted)))
    plan, state = eqx.filter_jit(SHORT.finish)(problem, x0, unfinished)
    assert float(plan.cost) == pytest.approx(float(search.cost[1])) and float(plan.cost) < 0.999 * resting
    assert int(plan.result) == Result.budget_exhausted
    np.testing.assert_array_equal(state.us[:-1], plan.us[1:])
    whole, _ = plan_from(SHORT, problem, x0, jr.key(3))
    assert float(whole.cost) < 0.999 * resting


class WrongSign(Linear):
    """The double integrator with the wrong sign in its derivative by the action."""

    def linearize(self, x, u, t):
        F = jnp.hstack([self.A, -self.B])
        return LinearGaussian(F, self(x, u, t).mean - F @ jnp.concatenate([x, u]), jnp.zeros((2, 2), x.dtype))


@pytest.mark.parametrize("limit", [1.0, INFINITE])
def test_wrong_derivatives_are_not_reported_as_convergence(dtype, limit):
    system = jax.tree.map(lambda a: a.astype(dtype), double_integrator())
    problem = Problem(WrongSign(system.A, system.B), QuadraticTask(limit=limit, final=10.0))
    plan, _ = plan_from(ONE, problem, jnp.array([1.0, 0.5], dtype), jr.key(0))
    assert int(plan.result) == Result.stalled and "derivatives" in Result.stalled.message
    assert int(plan.iterations) < 100
    assert float(plan.cost) <= float(total_cost(problem, plan.xs[0], jnp.zeros((12, 1), dtype)))


def test_a_warm_start_needs_fewer_iterations():
    with jax.enable_x64(True):
        problem, x0 = Problem(Car(), CarParking()), jnp.array([0.0, 2.5, 0.1, 0.0])
        planner = ILQR(horizon=30, starts=1)
        cold, _ = _iterations(planner, problem, x0)
        plan, state = plan_from(planner, problem, x0, jr.key(0))
        search = start(planner, problem, plan.xs[1], state.us)
        assert float(search.cost) < 1.02 * float(plan.cost)
        assert int(cold) > 3


@pytest.mark.parametrize("dtype", [jnp.float64], indirect=True, ids=["float64"])
def test_an_obstacle_is_avoided(dtype):
    """A disc of 0.4 m on the way; the car would drive through it."""
    x0 = jnp.array([0.0, 2.5, 0.0, 0.0], dtype)
    planner = ILQR(starts=4, samples=4, rounds=10)
    free, _ = plan_from(planner, Problem(Car(), CarParking()), x0, jr.key(0))
    middle = free.xs[jnp.argmin(jnp.abs(free.xs[:, 1] - 1.2)), :2] + jnp.array([0.1, 0.1], dtype)

    def inside(x, u, t):
        return jnp.atleast_1d(0.4**2 - jnp.sum((x[:2] - middle) ** 2))

    plan, _ = plan_from(planner, Problem(Car(), Constrained(CarParking(), inside)), x0, jr.key(0))
    worst = lambda plan: jax.vmap(lambda x: inside(x, None, None))(plan.xs).max()  # noqa: E731
    assert worst(free) > 0.1
    assert worst(plan) < 1e-4 and plan.cost > free.cost
    assert int(plan.result) == Result.converged
    T = plan.us.shape[0]
    assert CarParking().solved(Trajectory(plan.xs, plan.us, jnp.zeros(T + 1), jnp.ones(T + 1, bool)))


def test_a_constraint_of_a_quadratic_problem_against_its_known_optimum():
    """Velocity at most 0.2: the constraint holds with equality, and the multiplier is that of the dense program."""
    import scipy.optimize

    with jax.enable_x64(True):
        system = jax.tree.map(lambda a: a.astype(float), double_integrator())
        base = QuadraticTask(limit=INFINITE, final=10.0)
        task = Constrained(base, lambda x, u, t: -x[1:] - 0.2, lambda x: -x[1:] - 0.2)
        x0 = jnp.array([1.0, 0.0])
        plan, _ = plan_from(ONE, Problem(system, task), x0, jr.key(0))
        cost = jax.jit(lambda us: total_cost(Problem(system, base), x0, us[:, None]))
        speed = jax.jit(lambda us: follow(Problem(system, base), x0, lambda x, t: us[t, None], 12)[0][1:, 1] + 0.2)
        dense = scipy.optimize.minimize(
            cost, np.zeros(12), jac=jax.jit(jax.grad(cost)), method="SLSQP", options={"ftol": 1e-12, "maxiter": 200},
            constraints={"type": "ineq", "fun": speed, "jac": jax.jit(jax.jacobian(speed))},
        )  # fmt: skip
        assert int(plan.result) == Result.converged and (np.asarray(plan.xs[:, 1]) > -0.2 - 2e-5).all()
        np.testing.assert_allclose(plan.cost, dense.fun, rtol=1e-5)
        np.testing.assert_allclose(plan.us[:, 0], dense.x, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, parts in SHIPPED.items() if not parts.problem])
def test_the_gradient_is_zero_on_every_shipped_task(name):
    with jax.enable_x64(True):
        problem = shipped(name).problem
        x0 = problem.task.initial(key=jr.key(1)).astype(float)
        plan, _ = plan_from(ILQR(), problem, x0, jr.key(0))
        assert int(plan.result) == Result.converged
        assert projected_gradient(problem, plan) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PendulumSwingUp-v0", "CartPoleSwingUp-v0", "AcrobotSwingUp-v0"])
def test_swings_up_from_rest(name):
    with jax.enable_x64(True):
        problem = shipped(name).problem
        for seed in range(3):
            plan, _ = plan_from(ILQR(), problem, jnp.zeros(SHIPPED[name].size), jr.key(seed))
            near = np.linalg.norm(jax.vmap(problem.task.tip_offset)(plan.xs), axis=1) < problem.task.solved_distance
            upright = max(len(run) for run in "".join("x" if one else " " for one in near).split())
            assert upright >= 10, f"seed {seed}: the tip is up for {upright} steps only"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "cost"), [("CartPoleSwingUp-v0", 9.0), ("PendulumSwingUp-v0", 150.0)])
def test_default_settings_find_the_good_swing_up(name, cost):
    """Fresh seeds; on the cart-pole, the next best optimum costs 11 to 12.5."""
    problem = shipped(name).problem
    for seed in (201, 202, 203):
        plan, _ = plan_from(ILQR(), problem, problem.task.initial(key=jr.key(seed)), jr.key(seed))
        T = plan.us.shape[0]
        trajectory = Trajectory(plan.xs, plan.us, jnp.zeros(T + 1), jnp.ones(T + 1, bool))
        assert float(plan.cost) <= cost and problem.task.solved(trajectory), f"seed {seed}: cost {float(plan.cost):.2f}"


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ILQR(starts=0), "starts"),
        (lambda: ILQR(tolerance=0.0), "tolerance"),
        (lambda: ILQR(horizon=0), "task's own"),
    ],
)
def test_wrong_settings_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def test_plans_with_a_learned_gaussian_process():
    """What iLQR plans with a GP's mean costs the true system what an optimal plan would."""
    system, rng = double_integrator(), np.random.default_rng(0)
    x, u = rng.uniform(-1, 1, (60, 2)), rng.uniform(-1, 1, (60, 1))
    y = x @ np.asarray(system.A).T + u @ np.asarray(system.B).T - x
    model, _ = GP(restarts=1).fit(
        jnp.asarray(np.column_stack([x, u]), jnp.float32), jnp.asarray(y, jnp.float32), jnp.asarray(60), key=jr.key(0)
    )
    task, x0 = QuadraticTask(horizon=12), jnp.array([0.8, -0.3])
    truth, learned = Problem(system, task), Problem(LearnedDynamics(model, StateSpace(2)), task)
    plan, best = (plan_from(ONE, problem, x0, jr.key(1))[0] for problem in (learned, truth))
    assert plan.result == best.result == Result.converged
    assert total_cost(truth, x0, plan.us) == pytest.approx(float(best.cost), rel=1e-3)
    np.testing.assert_allclose(plan.policy.F[0], best.policy.F[0], atol=0.02)
