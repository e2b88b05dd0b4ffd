"""The bounded quadratic program against the enumeration of all active sets, and SciPy's bounded least squares."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from forethought.planning.box_qp import solve_box_qp

solve = jax.jit(jax.vmap(solve_box_qp))


def enumerated(H, q, low, high):
    """The best of the stationary points of all 3^m choices of free and clamped coordinates that lie within the box."""
    m, best, answer = len(q), np.inf, None
    for choice in itertools.product((-1, 0, 1), repeat=m):
        choice = np.array(choice)
        free, v = choice == 0, np.where(choice < 0, low, np.where(choice > 0, high, 0.0))
        if free.any():
            v[free] = np.linalg.solve(H[np.ix_(free, free)], -q[free] - H[np.ix_(free, ~free)] @ v[~free])
        if (v >= low - 1e-12).all() and (v <= high + 1e-12).all() and 0.5 * v @ H @ v + q @ v < best:
            best, answer = 0.5 * v @ H @ v + q @ v, v
    return answer


def problems(m, count, rng):
    roots = rng.normal(size=(count, m, m))
    H = roots @ roots.transpose(0, 2, 1) + 0.01 * np.eye(m)
    return H, 3 * rng.normal(size=(count, m)), -rng.uniform(size=(count, m)), rng.uniform(size=(count, m))


@pytest.mark.parametrize("m", [1, 2, 4])
def test_is_the_best_of_all_active_sets(dtype, m):
    H, q, low, high = problems(m, 100, np.random.default_rng(m))
    found = solve(*(jnp.asarray(a, dtype) for a in (H, q, low, high)))
    expected = [enumerated(*problem) for problem in zip(H, q, low, high, strict=True)]
    np.testing.assert_allclose(found.v, expected, atol=1e-9 if dtype == jnp.float64 else 2e-3)
    assert (np.asarray(found.v) >= np.asarray(low, dtype)).all() and (
        np.asarray(found.v) <= np.asarray(high, dtype)
    ).all()
    np.testing.assert_array_equal(found.clamped, (found.v == low) | (found.v == high)) if dtype == jnp.float64 else None
    assert found.clamped.any() and not found.clamped.all()


def test_without_bounds_it_is_the_newton_step_and_without_room_it_stays():
    with jax.enable_x64(True):
        H, q, low, high = problems(3, 20, np.random.default_rng(0))
        free = solve(*map(jnp.asarray, (H, q, -np.inf + 0 * q, np.inf + 0 * q)))
        np.testing.assert_allclose(free.v, -np.linalg.solve(H, q[..., None])[..., 0], rtol=1e-9)
        assert not free.clamped.any()
        still = solve(*map(jnp.asarray, (H, q, 0 * q, 0 * q)))
        np.testing.assert_array_equal(still.v, 0)
        assert still.clamped.all()


@pytest.mark.parametrize("m", [2, 3, 4, 6, 8])
def test_is_the_minimum_at_every_condition_number(dtype, m):
    """Conditions 1 to 1e6 (1e4 in float32): the cost is that of SciPy's active-set method."""
    rng, count = np.random.default_rng(m), 200
    most = 6 if dtype == jnp.float64 else 4
    eigenvalues = 10 ** (rng.uniform(0, most, (count, 1)) * rng.uniform(size=(count, m)))
    Q, _ = np.linalg.qr(rng.normal(size=(count, m, m)))
    H = (Q * eigenvalues[:, None]) @ Q.transpose(0, 2, 1)
    q = rng.normal(size=(count, m)) * 10 ** rng.uniform(-1, 1, (count, 1)) * np.sqrt(eigenvalues.max(1, keepdims=True))
    low, high = -rng.uniform(size=(count, m)), rng.uniform(size=(count, m))
    H, q, low, high = (np.asarray(a, dtype).astype(float) for a in (0.5 * (H + H.transpose(0, 2, 1)), q, low, high))
    found = solve(*(jnp.asarray(a, dtype) for a in (H, q, low, high)))
    v = np.asarray(found.v, float)
    cost = lambda v: 0.5 * np.einsum("bi,bij,bj->b", v, H, v) + np.sum(q * v, axis=1)  # noqa: E731
    expected = np.stack([_by_least_squares(*problem) for problem in zip(H, q, low, high, strict=True)])
    gap = (cost(v) - cost(expected)) / np.abs(cost(expected))
    assert gap.max() < (1e-9 if dtype == jnp.float64 else 1e-4), f"{gap.argmax()}: {gap.max():.1e} above the minimum"
    assert ((v >= low) & (v <= high)).all()
    assert (np.asarray(found.clamped) <= ((v == low) | (v == high))).all()


def _by_least_squares(H, q, low, high):
    root = np.linalg.cholesky(H)
    return scipy.optimize.lsq_linear(
        root.T, -np.linalg.solve(root, q), bounds=(low, high), method="bvls", tol=1e-15, max_iter=500
    ).x
