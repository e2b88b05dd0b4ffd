"""LQR against a dense solve of the whole horizon's optimality conditions, SciPy's Riccati solver, and its limits."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from forethought.core import Gaussian, LinearGaussian, NumericalFailure, Quadratic, Result, push_forward
from forethought.planning.dare import solve_dare, solve_infinite_lqr
from forethought.planning.lqr import solve_lqr

lqr = eqx.filter_jit(solve_lqr)
infinite = eqx.filter_jit(solve_infinite_lqr)


def random_problem(rng, T, n, m, dtype, noise=0.0):
    """Time-varying, affine, with cross terms; only the joint Hessians are positive definite."""
    d = n + m
    F = 0.5 * rng.normal(size=(T, n, d)) + np.eye(n, d)
    root = rng.normal(size=(T, d, d))
    C = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(d)
    end = rng.normal(size=(n, n))
    as_ = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    dynamics = LinearGaussian(as_(F), as_(rng.normal(size=(T, n))), as_(np.broadcast_to(noise * np.eye(n), (T, n, n))))
    cost = Quadratic(as_(C), as_(rng.normal(size=(T, d))), as_(rng.normal(size=T)))
    return dynamics, cost, Quadratic(as_(end @ end.T), as_(rng.normal(size=n)), as_(0.3))


def dense_solution(dynamics, cost, final, x0):
    """Stack all x_1..x_T and u_0..u_{T-1}; solve the KKT system with multipliers for the dynamics.  Float64."""
    F, f, C, c = (np.asarray(a, float) for a in (dynamics.F, dynamics.f, cost.C, cost.c))
    T, n, m = *F.shape[:2], F.shape[2] - F.shape[1]
    size = T * (m + n)  # u_0 x_1 u_1 x_2 ... x_T
    H, g, A, b = np.zeros((size, size)), np.zeros(size), np.zeros((T * n, size)), np.zeros(T * n)
    u_at = lambda t: slice(t * (m + n), t * (m + n) + m)  # noqa: E731
    x_at = lambda t: slice((t - 1) * (m + n) + m, t * (m + n))  # noqa: E731
    for t in range(T):
        Cxx, Cxu, Cuu, row = C[t, :n, :n], C[t, :n, n:], C[t, n:, n:], slice(t * n, (t + 1) * n)
        H[u_at(t), u_at(t)] += Cuu
        g[u_at(t)] += c[t, n:]
        A[row, x_at(t + 1)], A[row, u_at(t)], b[row] = np.eye(n), -F[t, :, n:], f[t]
        if t == 0:
            g[u_at(0)] += Cxu.T @ x0
            b[row] += F[0, :, :n] @ x0
        else:
            H[x_at(t), x_at(t)] += Cxx
            H[x_at(t), u_at(t)] += Cxu
            H[u_at(t), x_at(t)] += Cxu.T
            g[x_at(t)] += c[t, :n]
            A[row, x_at(t)] = -F[t, :, :n]
    H[x_at(T), x_at(T)] += np.asarray(final.C)
    g[x_at(T)] += np.asarray(final.c)
    kkt = np.block([[H, A.T], [A, np.zeros((T * n, T * n))]])
    solution = np.linalg.solve(kkt, np.concatenate([-g, b]))[:size].reshape(T, m + n)
    us, xs = solution[:, :m], np.vstack([x0, solution[:, m:]])
    return us, xs


@jax.jit
def total_cost(cost, final, xs, us):
    return sum(jax.vmap(lambda q, z: q(z))(cost, jnp.concatenate([xs[:-1], us], 1))) + final(xs[-1])


@pytest.mark.parametrize(("T", "n", "m"), [(12, 3, 2), (1, 2, 1), (5, 1, 3), (6, 9, 4)])
def test_equals_the_dense_solution(dtype, T, n, m):
    rng = np.random.default_rng(T + n)
    dynamics, cost, final = random_problem(rng, T, n, m, dtype)
    x0 = rng.normal(size=n)
    us, xs = dense_solution(dynamics, cost, final, x0)
    solution = lqr(dynamics, cost, final)
    assert int(solution.result) == Result.converged and solution.values.c.shape == (T + 1, n)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == jnp.float64 else {"rtol": 5e-3, "atol": 5e-3}
    x, policy, system = x0.astype(dtype), *jax.tree.map(np.asarray, (solution.policy, dynamics))
    for t in range(T):
        u = policy.F[t] @ x + policy.f[t]
        np.testing.assert_allclose(u, us[t], **tolerance)
        np.testing.assert_allclose(x, xs[t], **tolerance)
        x = system.F[t] @ np.concatenate([x, u]) + system.f[t]
    best = total_cost(cost, final, jnp.asarray(xs, dtype), jnp.asarray(us, dtype))
    value = jax.tree.map(lambda a: a[0], solution.values)(jnp.asarray(x0, dtype))
    np.testing.assert_allclose(value, best, rtol=1e-9 if dtype == jnp.float64 else 1e-3)


def test_value_is_the_expected_cost_under_noise():
    """The same gains; the cost by pushing the Gaussian through the closed loop."""
    with jax.enable_x64(True):
        dynamics, cost, final = random_problem(np.random.default_rng(0), 6, 3, 2, jnp.float64, noise=0.2)
        certain = LinearGaussian(dynamics.F, dynamics.f, 0 * dynamics.cov)
        solution = lqr(dynamics, cost, final)
        np.testing.assert_allclose(solution.policy.F, lqr(certain, cost, final).policy.F, rtol=1e-12)
        p, expected = Gaussian.point(jnp.array([1.0, -1.0, 0.5])), 0.0
        start = p.mean
        for t in range(6):
            K, k = solution.policy.F[t], solution.policy.f[t]
            close = LinearGaussian(jnp.vstack([jnp.eye(3), K]), jnp.concatenate([jnp.zeros(3), k]), jnp.zeros((5, 5)))
            z = push_forward(p, close)
            expected += jax.tree.map(lambda a, t=t: a[t], cost).expectation(z)
            p = push_forward(z, LinearGaussian(dynamics.F[t], dynamics.f[t], dynamics.cov[t]))
        expected += final.expectation(p)
        np.testing.assert_allclose(jax.tree.map(lambda a: a[0], solution.values)(start), expected, rtol=1e-10)


def test_zero_dynamics_leave_one_step_problems():
    with jax.enable_x64(True):
        dynamics, cost, final = random_problem(np.random.default_rng(1), 4, 2, 2, jnp.float64)
        still = LinearGaussian(0 * dynamics.F, 0 * dynamics.f, dynamics.cov)
        policy = lqr(still, cost, final).policy
        for t in range(4):
            Cuu = np.asarray(cost.C[t, 2:, 2:])
            np.testing.assert_allclose(policy.F[t], -np.linalg.solve(Cuu, cost.C[t, 2:, :2]), rtol=1e-10)
            np.testing.assert_allclose(policy.f[t], -np.linalg.solve(Cuu, cost.c[t, 2:]), rtol=1e-10)


def test_max_entropy_policy_is_the_normalized_exponential_of_q():
    """log p(u|x) = V(x) - Q(x, u), with V by quadrature of exp(-Q) at the last step and Q from V before."""
    with jax.enable_x64(True):
        dynamics, cost, final = random_problem(np.random.default_rng(2), 3, 2, 1, jnp.float64, noise=0.1)
        soft = lqr(dynamics, cost, final, max_entropy=True)
        np.testing.assert_allclose(soft.policy.F, lqr(dynamics, cost, final).policy.F, rtol=1e-12)
        x = jnp.array([0.3, -0.7])
        for t in range(3):
            stage, model, policy, V, after = (
                jax.tree.map(lambda a, i=i: a[i], part)
                for part, i in [(cost, t), (dynamics, t), (soft.policy, t), (soft.values, t), (soft.values, t + 1)]
            )

            def q_value(u):
                z = jnp.concatenate([x, jnp.atleast_1d(u)])
                return stage(z) + after.expectation(model(z))  # noqa: B023

            mass, _ = scipy.integrate.quad(lambda u: float(jnp.exp(q_value(u) * -1)), -20, 20, epsabs=1e-13)
            np.testing.assert_allclose(V(x), -np.log(mass), rtol=1e-8)
            for u in (-1.0, 0.4):
                np.testing.assert_allclose(policy(x).log_prob(jnp.array([u])), V(x) - q_value(u), rtol=1e-8)


def test_an_indefinite_problem_is_reported_and_raised_on_demand(dtype):
    dynamics, cost, final = random_problem(np.random.default_rng(0), 3, 2, 1, dtype)
    bad = Quadratic(cost.C.at[1, 2, 2].set(-1e3), cost.c, cost.const)
    result = Result(int(lqr(dynamics, bad, final).result))
    assert result == Result.not_positive_definite
    with pytest.raises(NumericalFailure, match="regularization"):
        result.throw()


def stationary(rng, n, m, dtype, cross=True):
    dynamics, cost, _ = random_problem(rng, 1, n, m, dtype, noise=0.1)
    C = (
        cost.C[0]
        if cross
        else cost.C[0] * jnp.asarray(scipy.linalg.block_diag(np.ones((n, n)), np.ones((m, m))), dtype)
    )
    return jax.tree.map(lambda a: a[0], dynamics), Quadratic(C, cost.c[0], cost.const[0])


@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 2), (10, 3)])
def test_infinite_horizon_is_scipys_riccati_solution(dtype, n, m, cross):
    dynamics, cost = stationary(np.random.default_rng(n), n, m, dtype, cross)
    A, B, C = dynamics.F[:, :n], dynamics.F[:, n:], cost.C
    args = [np.asarray(a, float) for a in (A, B, C[:n, :n], C[n:, n:])]
    expected = scipy.linalg.solve_discrete_are(*args, s=np.asarray(C[:n, n:], float))
    V, result = jax.jit(solve_dare)(A, B, C)
    assert int(result) == Result.converged
    np.testing.assert_allclose(
        V, expected, rtol=1e-8 if dtype == jnp.float64 else 2e-2, atol=1e-3 * np.finfo(dtype).eps ** 0.3
    )


def test_infinite_horizon_is_the_limit_of_long_ones():
    """Gains, affine part and the average cost of a step."""
    with jax.enable_x64(True):
        dynamics, cost = stationary(np.random.default_rng(3), 3, 2, jnp.float64)
        T = 200
        stack = lambda q: jax.tree.map(lambda a: jnp.broadcast_to(a, (T, *a.shape)), q)  # noqa: E731
        nothing = Quadratic(jnp.zeros((3, 3)), jnp.zeros(3), jnp.zeros(()))
        long = lqr(stack(dynamics), stack(cost), nothing, max_entropy=True)
        solution = infinite(dynamics, cost, max_entropy=True)
        assert int(solution.result) == Result.converged
        for got, wanted in zip(jax.tree.leaves(solution.policy), jax.tree.leaves(long.policy), strict=True):
            np.testing.assert_allclose(got, wanted[0], rtol=1e-8)
        np.testing.assert_allclose(solution.values.c, long.values.c[0], rtol=1e-8)
        hard = lqr(stack(dynamics), stack(cost), nothing)
        np.testing.assert_allclose(solution.values.const, hard.values.const[0] - hard.values.const[1], rtol=1e-8)


GROWING = [[1.2, 0.0], [0.0, 0.5]]
INTEGRATOR = [[1.0, 0.1], [0.0, 1.0]]
NOT_STABILIZING = {
    "an unstabilizable mode that costs": (GROWING, [[0.0], [1.0]], [1.0, 1.0]),
    "an unstabilizable mode that costs nothing": (GROWING, [[0.0], [1.0]], [0.0, 1.0]),
    "an undetectable growing mode": (GROWING, [[1.0], [1.0]], [0.0, 1.0]),
    "an undetectable mode that stays": (INTEGRATOR, [[0.0], [0.1]], [0.0, 1.0]),
}


@pytest.mark.parametrize("name", NOT_STABILIZING)
def test_a_closed_loop_that_is_not_stable_is_reported(dtype, name):
    A, B, weights = NOT_STABILIZING[name]
    dynamics = LinearGaussian(jnp.array(np.hstack([A, B]), dtype), jnp.zeros(2, dtype), jnp.zeros((2, 2), dtype))
    cost = Quadratic(jnp.diag(jnp.array([*weights, 1.0], dtype)), jnp.zeros(3, dtype), jnp.zeros((), dtype))
    result = Result(int(infinite(dynamics, cost).result))
    assert result == Result.not_stabilizing
    with pytest.raises(NumericalFailure, match="stabilizable"):
        result.throw()


def test_a_slow_closed_loop_is_stable():
    """A closed-loop spectral radius of 0.99999: the threshold of the stability test is rounding, not a margin."""
    with jax.enable_x64(True):
        A, B, C = jnp.eye(1), jnp.ones((1, 1)), jnp.diag(jnp.array([1e-10, 1.0]))
        V, result = jax.jit(solve_dare)(A, B, C)
        assert int(result) == Result.converged
        np.testing.assert_allclose(V, scipy.linalg.solve_discrete_are(A, B, C[:1, :1], C[1:, 1:]), rtol=1e-6)


def test_a_wrong_cost_and_a_problem_with_nan_are_reported():
    dynamics = LinearGaussian(jnp.array([[1.2, 0.0, 0.0], [0.0, 0.5, 1.0]]), jnp.zeros(2), jnp.zeros((2, 2)))
    wrong = Quadratic(jnp.diag(jnp.array([1.0, 1.0, -1.0])), jnp.zeros(3), jnp.zeros(()))
    assert int(infinite(dynamics, wrong).result) == Result.not_positive_definite
    unknown = LinearGaussian(dynamics.F.at[0, 0].set(jnp.nan), dynamics.f, dynamics.cov)
    assert int(infinite(unknown, Quadratic(jnp.eye(3), jnp.zeros(3), jnp.zeros(()))).result) == Result.not_finite
