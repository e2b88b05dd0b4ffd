import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from forethought.dynamics.cartpole import CartPole
from tests.dynamics.lagrangian import accelerations, rod


def lagrangian_derivative(system, x, force):
    def centre(q):
        half = system.pole_length / 2
        return jnp.stack([q[0] + half * jnp.sin(q[1]), -half * jnp.cos(q[1])])

    pole, weight = rod(system.pole_mass, system.pole_length, centre, lambda q: q[1])
    q, qd = x[jnp.array([0, 2])], x[jnp.array([1, 3])]
    qdd = accelerations(
        lambda q, qd: 0.5 * system.cart_mass * qd[0] ** 2 + pole(q, qd),
        lambda q: system.gravity * weight(q),
        q,
        qd,
        jnp.stack([force - system.friction * qd[0], jnp.zeros_like(force)]),
    )
    return jnp.stack([qd[0], qdd[0], qd[1], qdd[1]])


@pytest.mark.parametrize("seed", range(5))
def test_equations_follow_from_the_lagrangian(seed, dtype):
    x, u = 3 * jr.normal(jr.key(seed), (4,), dtype), 10 * jr.normal(jr.key(seed + 9), (1,), dtype)
    system = CartPole(cart_mass=0.7, pole_mass=0.3, pole_length=0.8, friction=0.4)
    expected = lagrangian_derivative(system, x, u[0])
    np.testing.assert_allclose(system.derivative(x, u), expected, rtol=2e-4 if dtype == jnp.float32 else 1e-10)


def test_energy_is_conserved_without_friction_and_force():
    with jax.enable_x64():
        system = CartPole(friction=0.0, substeps=20)
        x = jnp.array([0.3, -0.5, 2.5, 1.0])
        start = system.energy(x)
        for _ in range(20):
            x = system(x, jnp.zeros(1), jnp.array(0)).mean
        np.testing.assert_allclose(system.energy(x), start, rtol=1e-6)


def test_friction_takes_and_the_force_gives_energy():
    with jax.enable_x64():
        x, system = jnp.array([0.0, 1.0, 0.3, 2.0]), CartPole()
        power = jax.jvp(system.energy, (x,), (system.derivative(x, jnp.array([3.0])),))[1]
        np.testing.assert_allclose(power, 3.0 * 1.0 - 0.1 * 1.0**2, rtol=1e-10)


def test_a_step_matches_an_adaptive_solver():
    system = CartPole()
    x, u = np.array([0.1, -1.0, 3.0, 8.0]), np.array([10.0])
    with jax.enable_x64():
        truth = solve_ivp(lambda t, x: np.asarray(system.derivative(x, u)), (0, 0.1), x, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(system(jnp.array(x), jnp.array(u), jnp.array(0)).mean, truth.y[:, -1], atol=2e-4)


def test_hanging_is_stable_and_upright_is_not():
    system, push = CartPole(), jnp.zeros(1)
    assert system.derivative(jnp.array([0.0, 0.0, 0.1, 0.0]), push)[3] < 0
    assert system.derivative(jnp.array([0.0, 0.0, jnp.pi + 0.1, 0.0]), push)[3] > 0
    np.testing.assert_allclose(system.derivative(jnp.zeros(4), push), jnp.zeros(4))
