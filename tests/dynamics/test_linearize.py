"""Affine models of dynamics: autodiff, analytic and finite differences agree."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import Delta, HasLinearize, LinearGaussian
from forethought.dynamics.car import Car
from forethought.dynamics.cartpole import CartPole
from forethought.dynamics.linearize import FiniteDifferences, linearize
from tests.linear import double_integrator

X, U, NOW = [0.3, -0.2, 2.0, 0.7], [1.5], jnp.array(0)
affine = eqx.filter_jit(lambda dynamics, x, u: linearize(dynamics, x, u, NOW))


class Host(eqx.Module):
    """The cart-pole behind a callback: nothing that autodiff could look into."""

    calls: list = eqx.field(static=True)

    def __call__(self, x, u, t):
        def simulate(x, u):
            self.calls.append(x.shape)
            return np.stack([x[..., 0] + u[..., 0] * x[..., 1] ** 2, np.sin(x[..., 1])], -1)

        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return Delta(jax.pure_callback(simulate, shape, x, u, vmap_method="expand_dims"))

    def draw(self, *, key):
        return self


class Analytic(eqx.Module):
    """Says what it wants: the derivative that is asked for is its own."""

    def __call__(self, x, u, t):
        raise AssertionError("asked for its derivative only")

    def draw(self, *, key):
        return self

    def linearize(self, x, u, t):
        return LinearGaussian(jnp.full((2, 3), 7.0), jnp.zeros(2), jnp.zeros((2, 2)))


def test_a_linear_system_is_its_own_model(dtype):
    system = jax.tree.map(lambda a: a.astype(dtype), double_integrator(0.5))
    model = affine(system, jnp.array([1.0, 2.0], dtype), jnp.array([0.3], dtype))
    np.testing.assert_allclose(model.F, np.hstack([system.A, system.B]), rtol=1e-6)
    np.testing.assert_allclose(model.f, 0, atol=1e-6)
    np.testing.assert_allclose(model.cov, 0.25 * np.eye(2), rtol=1e-6)
    assert model.F.dtype == dtype


def test_touches_the_dynamics_and_differences_agree(dtype):
    x, u = jnp.array(X, dtype), jnp.array(U, dtype)
    exact, differences = affine(CartPole(), x, u), affine(FiniteDifferences(CartPole()), x, u)
    np.testing.assert_allclose(exact(jnp.concatenate([x, u])).mean, CartPole()(x, u, NOW).mean, rtol=1e-5)
    tolerance = 1e-8 if dtype == jnp.float64 else 2e-3
    np.testing.assert_allclose(differences.F, exact.F, atol=tolerance)
    np.testing.assert_allclose(differences.f, exact.f, atol=3 * tolerance)


def test_a_larger_step_is_less_exact_by_its_square():
    with jax.enable_x64(True):
        x, u = jnp.array([0.0, 0.0, 0.3, 1.0]), jnp.array([1.0, 0.5])
        exact = affine(Car(), x, u).F
        errors = [jnp.abs(affine(FiniteDifferences(Car(), step), x, u).F - exact).max() for step in (0.02, 0.04)]
        np.testing.assert_allclose(errors[1] / errors[0], 4, rtol=0.01)


def test_a_simulator_behind_a_callback_is_called_once_for_all_differences():
    calls = []
    x, u = jnp.array([0.1, 0.5]), jnp.array([2.0])
    model = linearize(FiniteDifferences(Host(calls)), x, u, NOW)
    np.testing.assert_allclose(model.F, [[1, 2, 0.25], [0, np.cos(0.5), 0]], atol=1e-3)
    assert len([shape for shape in calls if shape == (6, 2)]) == 1 and len(calls) == 2


def test_dynamics_that_know_their_derivatives_are_asked():
    assert isinstance(Analytic(), HasLinearize) and not isinstance(Car(), HasLinearize)
    assert (linearize(Analytic(), jnp.zeros(2), jnp.zeros(1), NOW).F == 7).all()
