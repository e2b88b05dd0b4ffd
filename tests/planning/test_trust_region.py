"""The trust-region step against dense Gaussians, Monte Carlo, SciPy's constrained solver, LQR, and its limits."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.stats import multivariate_normal

from forethought.core import Gaussian, LinearGaussian, NumericalFailure, Quadratic, Result
from forethought.planning.lqr import solve_lqr
from forethought.planning.trust_region import (
    constrained_step,
    expected_costs,
    negative_log_likelihood,
    next_step_size,
    penalized_step,
    trajectory_kl,
)
from tests.planning.test_lqr import random_problem

T, N, M = 3, 2, 1
compiled_step = jax.jit(constrained_step)
penalized = jax.jit(penalized_step)
costs_of = jax.jit(expected_costs)
kl_of = jax.jit(trajectory_kl)
lqr = eqx.filter_jit(solve_lqr)


def step(*problem, **options):
    """Compiled once for each dtype and shape: all numbers are arrays of the problem's dtype."""
    options = {"eta": 1.0, "temperature": 0.0, "tolerance": 0.1} | options
    numbers = {name: jnp.asarray(value, problem[3].f.dtype) for name, value in options.items()}
    return compiled_step(*problem[:5], jnp.asarray(problem[5], problem[3].f.dtype), **numbers)


def spd(rng, *shape):
    root = rng.normal(size=(*shape, shape[-1]))
    return root @ np.swapaxes(root, -1, -2) + 0.2 * np.eye(shape[-1])


def problem(seed, dtype=jnp.float64, steps=T, n=N, m=M):
    """Dynamics, cost, final cost, old controller and initial states; noise everywhere, nothing singular."""
    rng = np.random.default_rng(seed)
    as_ = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    dynamics, cost, final = random_problem(rng, steps, n, m, dtype)
    dynamics = LinearGaussian(dynamics.F, dynamics.f, as_(0.1 * spd(rng, steps, n)))
    old = controller(rng, dtype, steps, n, m)
    return dynamics, cost, final, old, Gaussian(as_(rng.normal(size=n)), as_(0.3 * spd(rng, n)))


def controller(rng, dtype=jnp.float64, steps=T, n=N, m=M):
    as_ = lambda a: jnp.asarray(a, dtype)  # noqa: E731
    F, f, cov = 0.3 * rng.normal(size=(steps, m, n)), rng.normal(size=(steps, m)), spd(rng, steps, m)
    return LinearGaussian(as_(F), as_(f), as_(cov))


def dense(policy, dynamics, initial):
    """Mean and covariance of [x_0; u_0; x_1; ... x_T], by stacking the linear map from all noise.  Float64 NumPy."""
    n = len(initial.mean)
    mean, root = np.asarray(initial.mean), np.linalg.cholesky(initial.cov)
    for t in range(policy.f.shape[0]):
        for conditional, given in ((policy, n), (dynamics, n + policy.f.shape[1])):
            F, f, cov = (np.asarray(a[t]) for a in (conditional.F, conditional.f, conditional.cov))
            below = np.hstack([F @ root[-given:], np.linalg.cholesky(cov)])
            mean = np.concatenate([mean, F @ mean[-given:] + f])
            root = np.vstack([np.hstack([root, np.zeros((len(root), len(f)))]), below])
    return mean, root @ root.T


def dense_kl(p, q):
    (m0, S0), (m1, S1) = p, q
    log_det = np.linalg.slogdet(S1)[1] - np.linalg.slogdet(S0)[1]
    return 0.5 * (np.trace(np.linalg.solve(S1, S0)) + (m1 - m0) @ np.linalg.solve(S1, m1 - m0) - len(m0) + log_det)


@pytest.mark.parametrize("seed", range(3))
def test_trajectory_kl_is_that_of_the_joint_gaussians_and_of_samples(seed):
    with jax.enable_x64(True):
        dynamics, _, _, old, initial = problem(seed)
        new = controller(np.random.default_rng(seed + 10))
        found = kl_of(new, old, dynamics, initial)
        p, q = dense(new, dynamics, initial), dense(old, dynamics, initial)
        assert found.shape == (T,) and np.all(np.asarray(found) > 0)
        np.testing.assert_allclose(jnp.sum(found), dense_kl(p, q), rtol=1e-8)
        samples = np.random.default_rng(seed).multivariate_normal(*p, size=20_000)
        log_ratio = multivariate_normal(*p).logpdf(samples) - multivariate_normal(*q).logpdf(samples)
        assert abs(log_ratio.mean() - float(jnp.sum(found))) < 3 * log_ratio.std() / np.sqrt(len(samples))
        np.testing.assert_allclose(kl_of(old, old, dynamics, initial), 0, atol=1e-12)


def test_negative_log_likelihood_is_scipys():
    with jax.enable_x64(True):
        policy = jax.tree.map(lambda a: a[0], controller(np.random.default_rng(0), n=3, m=2))
        x, u = np.array([0.3, -1.0, 0.5]), np.array([0.2, -0.4])
        expected = -multivariate_normal(policy.F @ x + policy.f, policy.cov).logpdf(u)
        np.testing.assert_allclose(negative_log_likelihood(policy)(jnp.concatenate([x, u])), expected, rtol=1e-10)


def scipy_step(dynamics, cost, final, old, initial, epsilon):
    """Least expected cost subject to KL <= epsilon, over gains, offsets and Cholesky factors (m = 1: one log std)."""
    steps, n = old.f.shape[0], N
    reference = dense(old, dynamics, initial)

    def unpack(v):
        v = v.reshape(steps, n + 2)
        return SimpleNamespace(F=v[:, None, :n], f=v[:, n : n + 1], cov=np.exp(2 * v[:, n + 1])[:, None, None])

    def total(v):
        mean, cov = dense(unpack(v), dynamics, initial)
        C, c = np.zeros_like(cov), np.zeros_like(mean)
        for t in range(steps):
            at = slice(t * (n + 1), (t + 1) * (n + 1))
            C[at, at] += cost.C[t]
            c[at] += cost.c[t]
        C[-n:, -n:] += final.C
        c[-n:] += final.c
        return 0.5 * mean @ C @ mean + c @ mean + 0.5 * np.sum(C * cov) + np.sum(cost.const) + final.const

    start = np.concatenate([old.F[:, 0], old.f, 0.5 * np.log(old.cov[:, 0])], axis=1).ravel()
    limit = {"type": "ineq", "fun": lambda v: epsilon - dense_kl(dense(unpack(v), dynamics, initial), reference)}
    options = {"maxiter": 500, "ftol": 1e-12}
    found = scipy.optimize.minimize(total, start, method="SLSQP", constraints=[limit], options=options)
    assert found.success
    return unpack(found.x), found.fun


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_the_step_keeps_its_bound_and_is_the_best_one(epsilon):
    with jax.enable_x64(True):
        parts = jax.tree.map(np.asarray, problem(3))
        best, lowest = scipy_step(*parts, epsilon)
        found = step(*problem(3), epsilon, tolerance=1e-3)
        assert int(found.result) == Result.converged and int(found.iterations) < 20
        np.testing.assert_allclose(jnp.sum(found.kl), epsilon, rtol=1e-2)
        np.testing.assert_allclose(jnp.sum(found.expected_cost), lowest, rtol=1e-3)
        for name in ("F", "f", "cov"):
            np.testing.assert_allclose(getattr(found.policy, name), getattr(best, name), rtol=2e-2, atol=2e-3)
        dual, primal = found.history.dual, lowest
        assert np.nanmax(dual) <= primal * (1 + 1e-6)  # weak duality


def test_the_bound_holds_in_float32_and_over_conditions():
    """A batch of conditions by vmap, with different bounds; the default tolerance and 1%."""
    parts = [problem(seed, jnp.float32, steps=20, n=4, m=2) for seed in range(3)]
    stable = [(LinearGaussian(0.5 * model.F, model.f, model.cov), *rest) for model, *rest in parts]
    batch = jax.tree.map(lambda *a: jnp.stack(a), *stable)
    bounds = jnp.array([0.5, 5.0, 50.0])
    solve = eqx.filter_jit(jax.vmap(lambda p, e, tol: constrained_step(*p, e, tolerance=tol), in_axes=(0, 0, None)))
    for tolerance in (0.1, 0.01):
        found = solve(batch, bounds, jnp.array(tolerance))
        assert np.all(found.result == Result.converged), found.result
        np.testing.assert_allclose(jnp.sum(found.kl, axis=1), bounds, rtol=1.001 * tolerance)


def test_a_large_multiplier_keeps_the_old_controller_and_a_small_one_is_lqr():
    with jax.enable_x64(True):
        dynamics, cost, final, old, initial = problem(1)
        kept = penalized(dynamics, cost, final, old, 1e12).policy
        for new, before in zip(jax.tree.leaves(kept), jax.tree.leaves(old), strict=True):
            np.testing.assert_allclose(new, before, rtol=1e-9, atol=1e-9)
        free, best = penalized(dynamics, cost, final, old, 1e-10).policy, lqr(dynamics, cost, final).policy
        np.testing.assert_allclose(free.F, best.F, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(free.f, best.f, rtol=1e-7, atol=1e-8)
        assert np.all(free.cov < 1e-9)
        nothing = penalized(dynamics, cost, final, old, 0.0, temperature=0.3).policy
        soft = lqr(dynamics, cost, final, max_entropy=True).policy
        np.testing.assert_allclose(nothing.cov, 0.3 * soft.cov, rtol=1e-9)
        mean = LinearGaussian(nothing.F, nothing.f, 0 * nothing.cov)
        price = jnp.sum(
            costs_of(nothing, dynamics, cost, final, initial) - costs_of(mean, dynamics, cost, final, initial)
        )
        np.testing.assert_allclose(price, 0.3 * M * T / 2, rtol=1e-9)  # what exploration costs


def test_multipliers_of_single_steps():
    """A step with an infinite multiplier keeps its old action; equal multipliers are one multiplier."""
    with jax.enable_x64(True):
        dynamics, cost, final, old, _ = problem(2)
        one = penalized(dynamics, cost, final, old, jnp.array([0.7] * T)).policy
        np.testing.assert_allclose(one.F, penalized(dynamics, cost, final, old, 0.7).policy.F, rtol=1e-12)
        kept = penalized(dynamics, cost, final, old, jnp.array([0.7, 1e12, 0.7])).policy
        np.testing.assert_allclose(kept.F[1], old.F[1], rtol=1e-8, atol=1e-9)
        assert np.max(np.abs(kept.F[0] - old.F[0])) > 1e-3


def test_a_larger_bound_costs_less_and_the_reported_costs_are_the_policys():
    with jax.enable_x64(True):
        dynamics, cost, final, old, initial = problem(4)
        totals = [float(jnp.sum(costs_of(old, dynamics, cost, final, initial)))]
        for epsilon in (0.01, 0.1, 1.0, 10.0):
            found = step(dynamics, cost, final, old, initial, epsilon, tolerance=0.01)
            again = costs_of(found.policy, dynamics, cost, final, initial)
            np.testing.assert_allclose(found.expected_cost, again, rtol=1e-10)
            kl = kl_of(found.policy, old, dynamics, initial)
            np.testing.assert_allclose(found.kl, kl, rtol=1e-8, atol=1e-10)
            totals.append(float(jnp.sum(again)))
        assert np.all(np.diff(totals) < 0)


def test_a_converged_controller_stays_converged():
    """Steps without end: the bound becomes inactive, and nothing collapses, grows or becomes NaN."""
    with jax.enable_x64(True):
        dynamics, cost, final, policy, initial = problem(5)
        soft = lqr(dynamics, cost, final, max_entropy=True).policy
        eta, multiplier, totals = 1.0, 1.0, []
        for _ in range(50):
            found = step(dynamics, cost, final, policy, initial, 0.5 * multiplier, eta=eta, temperature=0.01)
            predicted = jnp.sum(costs_of(policy, dynamics, cost, final, initial)) - jnp.sum(found.expected_cost)
            assert int(found.result) == Result.converged
            policy, eta = found.policy, found.eta
            multiplier = float(next_step_size(multiplier, predicted, predicted))
            totals.append(float(jnp.sum(found.expected_cost)))
        assert float(eta) == pytest.approx(1e-8) and float(jnp.sum(found.kl)) < 1e-6
        np.testing.assert_allclose(policy.F, soft.F, rtol=1e-4)
        np.testing.assert_allclose(policy.cov, 0.01 * soft.cov, rtol=1e-4)
        assert totals[-1] <= min(totals) + 1e-6 and 0.01 <= multiplier <= 10


def test_without_entropy_the_covariance_shrinks_and_the_step_stays_finite():
    """40 further steps in float32 after convergence, each of which spends its bound on the covariance."""
    dynamics, cost, final, policy, initial = problem(6, jnp.float32)
    eta = 1.0
    for _ in range(40):
        found = step(dynamics, cost, final, policy, initial, 1.0, eta=eta)
        policy, eta = found.policy, found.eta
        assert Result(int(found.result)).usable
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((policy, found.kl, found.expected_cost)))


def test_an_indefinite_cost_needs_a_larger_multiplier():
    """A cost that decreases in u without bound: LQR has no solution, the trust region has."""
    with jax.enable_x64(True):
        dynamics, cost, final, old, initial = problem(7)
        concave = Quadratic(cost.C.at[:, N:, N:].set(-20.0), cost.c, cost.const)
        assert int(lqr(dynamics, concave, final).result) == Result.not_positive_definite
        found = step(dynamics, concave, final, old, initial, 0.5, eta=1e-6, tolerance=0.01)
        assert int(found.result) == Result.converged
        np.testing.assert_allclose(jnp.sum(found.kl), 0.5, rtol=0.01)


def test_failures_are_results_with_the_old_controller():
    with jax.enable_x64(True):
        dynamics, cost, final, old, initial = problem(8)
        collapsed = LinearGaussian(old.F, old.f, old.cov.at[1].set(0.0))
        endless = Quadratic(cost.C.at[:, N:, N:].set(-1e20), cost.c, cost.const)
        unknown = LinearGaussian(dynamics.F.at[0, 0, 0].set(jnp.nan), dynamics.f, dynamics.cov)
        cases = [
            ((dynamics, cost, final, collapsed, initial, 1.0), Result.not_positive_definite),
            ((dynamics, endless, final, old, initial, 1.0), Result.not_positive_definite),
            ((unknown, cost, final, old, initial, 1.0), Result.not_finite),
            ((dynamics, cost, final, old, initial, 0.0), Result.infeasible),
            ((dynamics, cost, final, old, initial, -1.0), Result.infeasible),
        ]
        for arguments, expected in cases:
            found = step(*arguments)
            result = Result(int(found.result))
            assert result == expected and not result.usable
            np.testing.assert_array_equal(found.policy.F, arguments[3].F)
            np.testing.assert_array_equal(found.kl, 0)
            with pytest.raises(NumericalFailure):
                result.throw()


def test_step_sizes_follow_the_rule_and_stay_within_their_range():
    new = lambda *values: float(next_step_size(*values))  # noqa: E731
    assert new(1.0, 2.0, 1.0) == pytest.approx(1.0)  # half of the prediction came true: the size was the best one
    assert new(1.0, 2.0, 1.5) == pytest.approx(2.0)
    assert new(1.0, 2.0, -2.0) == pytest.approx(0.25)
    assert new(1.0, 2.0, 5.0) == pytest.approx(5.0)  # better than predicted: the largest factor
    assert new(4.0, 2.0, 5.0) == pytest.approx(10.0) and new(0.02, 1.0, -1e6) == pytest.approx(0.01)
    for nothing in [(0.0, 0.0), (1e-12, 1e-12), (-1.0, 0.0), (np.nan, 1.0), (1.0, np.nan), (np.inf, 1.0)]:
        assert new(1.0, *nothing) == pytest.approx(0.1), nothing
