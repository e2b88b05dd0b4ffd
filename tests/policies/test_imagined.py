"""Gradients through imagined rollouts, against finite differences and the closed forms of linear systems."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import Problem
from forethought.policies.gradient_diagnostics import (
    error_by_rollouts,
    gradient_by_horizon,
    gradient_samples,
    jacobian_growth,
    relative_bias,
)
from forethought.policies.imagined import Imagination, imagine, policy_gradient
from tests.linear import Linear, QuadraticTask, double_integrator

STD, G, H = 0.1, 0.95, 6
SYSTEM = double_integrator(STD)
TASK = QuadraticTask(final=0.0, limit=100.0)
GAINS = jnp.array([[-1.0, -1.5]])
TAIL_WEIGHT = 3.0


def act(theta, x):
    return theta @ x


class Tail(eqx.Module):
    weight: float = TAIL_WEIGHT

    def __call__(self, x):
        return self.weight * x @ x


IMAGINATION = Imagination(Problem(SYSTEM, TASK), act, tail=Tail(), steps=H, discount=G)
ESTIMATE = eqx.filter_jit(policy_gradient)


def starts(count):
    return jnp.broadcast_to(jnp.array([1.0, 0.5]), (count, 2))


def expected_cost(K):
    """The exact expectation: second moments S_{t+1} = M S_t M' + std^2 I with M = A + B K, cost trace(Q S)."""
    A, B, K = np.asarray(SYSTEM.A, float), np.asarray(SYSTEM.B, float), np.asarray(K, float)
    M, Q = A + B @ K, np.eye(2) + TASK.effort * K.T @ K
    S, total = np.outer([1.0, 0.5], [1.0, 0.5]), 0.0
    for t in range(H):
        total += G**t * np.trace(Q @ S)
        S = M @ S @ M.T + STD**2 * np.eye(2)
    return total + G**H * TAIL_WEIGHT * np.trace(S)


def exact_gradient():
    K, step = np.asarray(GAINS, float), 1e-5
    shift = lambda i, s: expected_cost(K + s * np.eye(2)[i][None])  # noqa: E731
    return np.array([[(shift(i, step) - shift(i, -step)) / (2 * step) for i in range(2)]])


def test_a_pathwise_gradient_is_the_derivative_with_the_noise_held_fixed():
    """Against central differences, with the same key."""
    key, x0s, step = jr.key(0), starts(8), 1e-2
    cost = eqx.filter_jit(lambda theta: jnp.mean(imagine(IMAGINATION, theta, x0s, key=key).costs.sum(axis=1)))
    found = ESTIMATE(IMAGINATION, GAINS, x0s, key=key)
    assert float(found.cost) == pytest.approx(float(cost(GAINS)), rel=1e-6)
    shift = [step * jnp.eye(2)[i][None] for i in range(2)]
    differences = [float(cost(GAINS + s) - cost(GAINS - s)) / (2 * step) for s in shift]
    np.testing.assert_allclose(found.gradient[0], differences, rtol=2e-3)


@pytest.mark.parametrize("estimator", ["pathwise", "score", "mixed"])
def test_the_mean_gradient_is_that_of_the_exact_expected_cost(estimator):
    """Within four standard errors; all three estimate one thing."""
    count = 8000
    found = ESTIMATE(IMAGINATION, GAINS, starts(count), estimator=estimator, key=jr.key(1))
    assert float(found.cost) == pytest.approx(expected_cost(GAINS), rel=0.02)
    error = float(jnp.sqrt(found.variance / count))
    np.testing.assert_allclose(found.gradient, exact_gradient(), atol=4 * error + 1e-3)
    assert error < 0.2 * np.linalg.norm(exact_gradient())


def test_the_mixture_weighs_by_inverse_variances():
    x0s, key = starts(500), jr.key(2)
    pathwise, score, mixed = (
        ESTIMATE(IMAGINATION, GAINS, x0s, estimator=e, key=key) for e in ("pathwise", "score", "mixed")
    )
    k = float(pathwise.variance / (pathwise.variance + score.variance))
    assert float(mixed.score_share) == pytest.approx(k, rel=1e-4)
    expected = k * score.gradient + (1 - k) * pathwise.gradient
    np.testing.assert_allclose(mixed.gradient, expected, rtol=1e-3)
    assert float(mixed.variance) < 1.05 * float(min(pathwise.variance, score.variance))
    assert float(pathwise.score_share) == 0.0 and float(score.score_share) == 1.0


def test_nothing_is_charged_after_a_terminal_state():
    """It starts at 0.1 m from the edge and ends with the first step: one cost, no tail."""
    edge = Problem(double_integrator(1e-6), QuadraticTask(edge=0.9, limit=100.0))
    paths = imagine(Imagination(edge, act, tail=Tail(), steps=4), jnp.zeros((1, 2)), starts(2), key=jr.key(0))
    np.testing.assert_allclose(paths.costs, [[1.25, 0, 0, 0, 0]] * 2, atol=1e-5)
    np.testing.assert_array_equal(paths.alive, [[True, False, False, False, False]] * 2)


def test_an_unstable_loop_makes_gradients_explode_and_the_mixture_avoids_it():
    unstable = Linear(jnp.array([[2.0]]), jnp.array([[1.0]]), 0.1)
    imagination = Imagination(Problem(unstable, QuadraticTask(final=0.0, limit=100.0)), act)
    x0s = jr.normal(jr.key(3), (64, 1))
    theta, horizons = jnp.zeros((1, 1)), [2, 8]
    pathwise = gradient_by_horizon(imagination, theta, x0s, horizons, key=jr.key(0))
    np.testing.assert_array_equal(pathwise.horizon, horizons)
    assert pathwise.norm[1] > 1000 * pathwise.norm[0] and pathwise.std[1] > 1000 * pathwise.std[0]
    stable = Imagination(Problem(Linear(jnp.array([[0.5]]), jnp.array([[1.0]]), 0.1), imagination.problem.task), act)
    calm = gradient_by_horizon(stable, theta, x0s, horizons, key=jr.key(0))
    assert calm.norm[1] < 2 * calm.norm[0]


def test_growth_along_a_trajectory_is_that_of_the_closed_loop():
    M = np.asarray(SYSTEM.A + SYSTEM.B @ GAINS, float)
    growth = jacobian_growth(SYSTEM, act, GAINS, jr.normal(jr.key(0), (5, 2)))
    np.testing.assert_allclose(growth.radius, np.max(np.abs(np.linalg.eigvals(M))), rtol=1e-5)
    products = [np.linalg.norm(np.linalg.matrix_power(M, t + 1), 2) for t in range(5)]
    np.testing.assert_allclose(growth.product, products, rtol=1e-5)


def test_a_gradient_that_explodes_leaves_the_score():
    """Where the pathwise gradient is not finite, the mixture is the score alone."""

    class Overflow(Linear):
        def __call__(self, x, u, t):
            y = super().__call__(x, u, t)
            return type(y)(y.mean + 0 * jnp.sqrt(jnp.abs(x)), y.std)  # the derivative at 0 is not a number

    system = Overflow(jnp.eye(1), jnp.eye(1), 0.1)
    imagination = Imagination(Problem(system, QuadraticTask(final=0.0)), act, steps=3)
    found = ESTIMATE(imagination, jnp.zeros((1, 1)), jnp.zeros((16, 1)), estimator="mixed", key=jr.key(0))
    assert np.isfinite(found.gradient).all()


def test_the_variance_falls_with_the_number_of_rollouts_and_the_bias_of_a_wrong_model_stays():
    """Against the exact gradient of the linear system; the wrong model has a heavier mass."""
    numbers, truth = [4, 16, 64, 256], exact_gradient()[0]
    wrong = eqx.tree_at(lambda s: s.B, SYSTEM, 0.5 * SYSTEM.B)
    for system, biased in ((SYSTEM, False), (wrong, True)):
        imagination = eqx.tree_at(lambda i: i.problem.dynamics, IMAGINATION, system)
        samples = gradient_samples(imagination, GAINS, starts(4), block=4, count=1000, key=jr.key(5))
        found = error_by_rollouts(np.asarray(samples), truth, block=4, rollouts=numbers)
        np.testing.assert_allclose(found.variance * numbers, found.variance[0] * 4, rtol=0.5)
        np.testing.assert_allclose(found.error, found.variance + found.bias, rtol=0.3, atol=1e-4)
        if biased:
            assert found.error[-1] > 0.9 * found.bias[-1] > 10 * found.variance[-1]
            assert relative_bias(np.asarray(samples), truth) > 0.1
        else:
            assert found.bias[-1] < found.variance[-1] and relative_bias(np.asarray(samples), truth) < 0.05
    with pytest.raises(ValueError, match="multiples of 4"):
        error_by_rollouts(np.asarray(samples), truth, block=4, rollouts=[6])
    with pytest.raises(ValueError, match="at most half of all"):
        error_by_rollouts(np.asarray(samples), truth, block=4, rollouts=[4000])
