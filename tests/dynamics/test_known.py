"""Every known system against its Lagrangian, its energy, and an adaptive solver."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from forethought.dynamics.car import Car
from forethought.dynamics.cart_double_pendulum import CartDoublePendulum
from forethought.dynamics.cartpole import CartPole
from forethought.dynamics.double_pendulum import Acrobot
from forethought.dynamics.integrate import rk4
from forethought.dynamics.pendulum import Pendulum
from forethought.dynamics.quadrotor import PlanarQuadrotor
from forethought.dynamics.reacher import TwoLinkArm
from tests.dynamics.lagrangian import accelerations, rod

# odd constants, so that no two terms can cancel by accident
SYSTEMS = {
    "cartpole": (CartPole(cart_mass=0.7, pole_mass=0.3, pole_length=0.8, friction=0.4), 4, 1),
    "cart_double": (
        CartDoublePendulum(cart_mass=0.7, mass1=0.3, mass2=0.9, length1=0.8, length2=0.5, friction=0.4),
        6,
        1,
    ),
    "pendulum": (Pendulum(mass=0.7, length=1.3, friction=0.2), 2, 1),
    "acrobot": (Acrobot(mass1=0.8, mass2=1.4, length1=0.9, length2=1.2, friction=0.3), 4, 1),
    "arm": (TwoLinkArm(mass1=0.8, mass2=1.4, length1=0.9, length2=1.2, friction=0.3), 4, 2),
    "car": (Car(), 4, 2),
    "quadrotor": (PlanarQuadrotor(), 6, 2),
}
CONSERVATIVE = {name: s for name, s in SYSTEMS.items() if name != "car"}


def on_the_second_rod(s):
    def center(q):
        a, b = q[0], q[0] + q[1]
        return jnp.stack(
            [s.length1 * jnp.sin(a) + s.length2 / 2 * jnp.sin(b), -s.length1 * jnp.cos(a) - s.length2 / 2 * jnp.cos(b)]
        )

    return center


def on_the_first_rod(length):
    return lambda q: length / 2 * jnp.stack([jnp.sin(q[0]), -jnp.cos(q[0])])


def cartpole_reference(s, q, qd, u):
    def center(q):
        return jnp.stack([q[0] + s.pole_length / 2 * jnp.sin(q[1]), -s.pole_length / 2 * jnp.cos(q[1])])

    pole, moment = rod(s.pole_mass, s.pole_length, center, lambda q: q[1])
    force = jnp.stack([u[0] - s.friction * qd[0], jnp.zeros_like(u[0])])
    kinetic = lambda q, qd: 0.5 * s.cart_mass * qd[0] ** 2 + pole(q, qd)  # noqa: E731
    return accelerations(kinetic, lambda q: s.gravity * moment(q), q, qd, force)


def cart_double_reference(s, q, qd, u):
    def elbow(q, share=1.0):
        return jnp.stack([q[0], jnp.zeros_like(q[0])]) + 2 * share * on_the_first_rod(s.length1)(q[1:])

    def first_center(q):
        return elbow(q, 0.5)

    def second_center(q):
        return elbow(q) + on_the_first_rod(s.length2)(q[2:])

    first, moment1 = rod(s.mass1, s.length1, first_center, lambda q: q[1])
    second, moment2 = rod(s.mass2, s.length2, second_center, lambda q: q[2])
    force = jnp.stack([u[0] - s.friction * qd[0], jnp.zeros_like(u[0]), jnp.zeros_like(u[0])])
    kinetic = lambda q, qd: 0.5 * s.cart_mass * qd[0] ** 2 + first(q, qd) + second(q, qd)  # noqa: E731
    return accelerations(kinetic, lambda q: s.gravity * (moment1(q) + moment2(q)), q, qd, force)


def pendulum_reference(s, q, qd, u):
    kinetic, moment = rod(s.mass, s.length, on_the_first_rod(s.length), lambda q: q[0])
    return accelerations(kinetic, lambda q: s.gravity * moment(q), q, qd, u - s.friction * qd)


def two_rods_reference(s, gravity, q, qd, torques):
    first, moment1 = rod(s.mass1, s.length1, on_the_first_rod(s.length1), lambda q: q[0])
    second, moment2 = rod(s.mass2, s.length2, on_the_second_rod(s), lambda q: q[0] + q[1])
    kinetic = lambda q, qd: first(q, qd) + second(q, qd)  # noqa: E731
    return accelerations(kinetic, lambda q: gravity * (moment1(q) + moment2(q)), q, qd, torques - s.friction * qd)


def acrobot_reference(s, q, qd, u):
    return two_rods_reference(s, s.gravity, q, qd, jnp.stack([jnp.zeros_like(u[0]), u[0]]))


def arm_reference(s, q, qd, u):
    return two_rods_reference(s, 0.0, q, qd, u)


def quadrotor_reference(s, q, qd, u):
    """Each thrust is a force at its propeller: generalized forces by virtual work."""

    def propellers(q):
        along, center = s.arm * jnp.stack([jnp.cos(q[2]), jnp.sin(q[2])]), q[:2]
        return jnp.stack([center - along, center + along])

    up = jnp.stack([-jnp.sin(q[2]), jnp.cos(q[2])])
    work = jnp.einsum("p,k,pkq->q", u, up, jax.jacobian(propellers)(q))
    kinetic = lambda q, qd: 0.5 * s.mass * qd[:2] @ qd[:2] + 0.5 * s.inertia * qd[2] ** 2  # noqa: E731
    return accelerations(kinetic, lambda q: s.mass * s.gravity * q[1], q, qd, work)


REFERENCES = {
    "cartpole": (cartpole_reference, [0, 2], [1, 3]),
    "cart_double": (cart_double_reference, [0, 2, 3], [1, 4, 5]),
    "pendulum": (pendulum_reference, [0], [1]),
    "acrobot": (acrobot_reference, [0, 1], [2, 3]),
    "arm": (arm_reference, [0, 1], [2, 3]),
    "quadrotor": (quadrotor_reference, [0, 1, 2], [3, 4, 5]),
}


@eqx.filter_jit
def derivative(system, x, u):
    return system.derivative(x, u)


def random_states(name, dtype, count=8):
    _, n, m = SYSTEMS[name]
    return 2 * jr.normal(jr.key(0), (count, n), dtype), 3 * jr.normal(jr.key(1), (count, m), dtype)


@pytest.mark.parametrize("name", REFERENCES)
def test_equations_follow_from_the_lagrangian(name, dtype):
    system, _, _ = SYSTEMS[name]
    reference, positions, speeds = REFERENCES[name]
    xs, us = random_states(name, dtype)

    @jax.jit
    @jax.vmap
    def both(x, u):
        q, qd = x[jnp.array(positions)], x[jnp.array(speeds)]
        expected = jnp.zeros_like(x).at[jnp.array(positions)].set(qd)
        return system.derivative(x, u), expected.at[jnp.array(speeds)].set(reference(system, q, qd, u))

    ours, expected = both(xs, us)
    assert ours.dtype == dtype
    tolerance = 2e-3 if dtype == jnp.float32 else 1e-9
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_energy_is_conserved_without_friction_and_action(name):
    system, n, m = SYSTEMS[name]
    free = {field: 0.0 for field in ("friction",) if hasattr(system, field)}
    with jax.enable_x64():
        system = type(system)(**free, substeps=20)
        x0 = jnp.linspace(0.5, 1.5, n)
        step = lambda x, t: (system(x, jnp.zeros(m), t).mean, system.energy(x))  # noqa: E731
        _, energies = jax.jit(lambda x0: jax.lax.scan(step, x0, jnp.arange(40)))(x0)
    energies = np.asarray(energies)
    np.testing.assert_allclose(energies, np.full(40, energies[0]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CONSERVATIVE)
def test_energy_changes_by_the_work_done(name):
    """dE/dt is power in minus friction: for the jointed systems, force times speed."""
    system, n, m = SYSTEMS[name]
    _, _, speeds = REFERENCES[name]
    with jax.enable_x64():
        xs, us = random_states(name, jnp.float64)

        def power(x, u):
            return jax.jvp(system.energy, (x,), (system.derivative(x, u),))[1]

        def work(x, u):
            qd = x[jnp.array(speeds)]
            if name == "quadrotor":
                up = jnp.stack([-jnp.sin(x[2]), jnp.cos(x[2])])
                return jnp.sum(u) * up @ qd[:2] + (u[1] - u[0]) * system.arm * qd[2]
            driven = {"cartpole": qd[:1], "cart_double": qd[:1], "pendulum": qd, "acrobot": qd[1:], "arm": qd}[name]
            rubbed = qd[:1] if name.startswith("cart") else qd
            return u @ driven - system.friction * rubbed @ rubbed

        powers, works = jax.jit(jax.vmap(lambda x, u: (power(x, u), work(x, u))))(xs, us)
        np.testing.assert_allclose(powers, works, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_step_matches_an_adaptive_solver(name):
    system, n, m = type(SYSTEMS[name][0])(), *SYSTEMS[name][1:]
    with jax.enable_x64():
        x, u = jnp.linspace(1.0, 3.0, n), jnp.linspace(1.0, 2.0, m)
        derivative = jax.jit(lambda x: system.derivative(x, u))
        truth = solve_ivp(lambda t, x: np.asarray(derivative(jnp.array(x))), (0, system.dt), x, rtol=1e-10, atol=1e-12)
        after = jax.jit(lambda x, u: system(x, u, jnp.array(0)).mean)(x, u)
        np.testing.assert_allclose(after, truth.y[:, -1], atol=5e-5)


def test_rk4_is_of_fourth_order():
    pendulum = Pendulum()
    with jax.enable_x64():
        x, u = jnp.array([1.0, 2.0]), jnp.array([0.5])
        ends = [
            jax.jit(lambda x, u, n=n: rk4(pendulum.derivative, x, u, dt=0.4, substeps=n))(x, u) for n in (2, 4, 8, 256)
        ]
        errors = [float(jnp.linalg.norm(end - ends[-1])) for end in ends[:-1]]
    assert 12 < errors[0] / errors[1] < 20
    assert 12 < errors[1] / errors[2] < 20


def test_rk4_in_a_loop_is_rk4_unrolled(dtype):
    pendulum, x, u = Pendulum(), jnp.array([2.0, 1.0], dtype), jnp.array([0.5], dtype)
    for substeps in (1, 3):
        unrolled, loop = (
            jax.jit(lambda x, u, k=k: rk4(pendulum.derivative, x, u, dt=0.4, substeps=substeps, unrolled=k))(x, u)  # noqa: B023
            for k in (True, False)
        )
        np.testing.assert_allclose(loop, unrolled, rtol=4 * jnp.finfo(dtype).eps)
        assert loop.dtype == dtype


@pytest.mark.parametrize("name", SYSTEMS)
def test_known_systems_are_certain(name):
    system, n, m = SYSTEMS[name]
    x, u = jnp.ones(n), jnp.ones(m)
    after = jax.jit(lambda x, u: system(x, u, jnp.array(0)))(x, u)
    np.testing.assert_array_equal(after.sample(key=jr.key(0)), after.mean)
    np.testing.assert_array_equal(after.cov, np.zeros((n, n)))
    assert system.draw(key=jr.key(0)) is system


def test_the_car_turns_left_and_drives_along_its_heading():
    car = Car(drag=0.0)
    x = jnp.array([0.0, 0.0, jnp.pi / 2, 2.0])
    np.testing.assert_allclose(car(x, jnp.zeros(2), jnp.array(0)).mean, [0, 0.2, np.pi / 2, 2.0], atol=1e-6)
    turned = car(x, jnp.array([0.0, 1.0]), jnp.array(0)).mean
    assert turned[2] > x[2] and turned[0] < 0


def test_a_turning_car_drives_in_a_circle():
    car, x = Car(drag=0.0, dt=0.1), jnp.array([1.0, 0.0, jnp.pi / 2, 1.0])
    step = lambda x, t: (car(x, jnp.array([0.0, 1.0]), t).mean, x)  # noqa: E731
    _, xs = jax.jit(lambda x: jax.lax.scan(step, x, jnp.arange(60)))(x)
    np.testing.assert_allclose(jnp.linalg.norm(xs[:, :2], axis=-1), np.ones(60), atol=1e-5)


def test_hanging_is_stable_and_upright_is_not():
    for system, at in ((CartPole(), 2), (Pendulum(), 0)):
        n, push = 2 + at, jnp.zeros(1)
        tilted = jnp.zeros(n).at[at].set(0.1)
        assert system.derivative(tilted, push)[-1] < 0
        assert system.derivative(tilted.at[at].add(jnp.pi), push)[-1] > 0


def test_the_double_pendulum_on_a_cart_falls_back_to_what_it_contains():
    """A second rod of no mass leaves the cart-pole; a cart too heavy to move leaves two rods on a fixed hinge."""
    with jax.enable_x64():
        x, u = jnp.array([0.3, -1.2, 2.1, 0.7, 3.4, -1.0]), jnp.array([4.0])
        light = derivative(CartDoublePendulum(mass2=1e-9, length1=0.5), x, u)
        pole = derivative(CartPole(), x[jnp.array([0, 1, 2, 4])], u)
        np.testing.assert_allclose(light[jnp.array([0, 1, 2, 4])], pole, rtol=1e-6)
        heavy = derivative(CartDoublePendulum(cart_mass=1e9), x.at[1].set(0.0), u)
        rods = Acrobot(mass1=0.5, mass2=0.5, length1=0.6, length2=0.6, gravity=9.82)
        relative = derivative(rods, jnp.array([2.1, 0.7 - 2.1, 3.4, -1.0 - 3.4]), jnp.zeros(1))
        np.testing.assert_allclose(heavy[4:], [relative[2], relative[2] + relative[3]], rtol=1e-6)


def test_the_double_pendulum_on_a_cart_has_the_published_equations():
    """The linear system as printed with the release that the constants come from; its angles are from upright."""
    with jax.enable_x64():
        x, f = np.array([0.3, -1.2, 2.1, 0.7, 3.4, -1.0]), 4.0
        m, l, b, g = 0.5, 0.6, 0.1, 9.82  # noqa: E741
        v, a1, a2, w1, w2 = x[1], x[2] - np.pi, x[3] - np.pi, x[4], x[5]
        s, c = np.sin, np.cos
        A = [[6 * m, -3 * m * l * c(a1), -m * l * c(a2)],
             [-9 * m * c(a1), 8 * m * l, 3 * m * l * c(a1 - a2)],
             [-3 * c(a2), 3 * l * c(a1 - a2), 2 * l]]  # fmt: skip
        rhs = [2 * f - 2 * b * v - 3 * m * l * w1**2 * s(a1) - m * l * w2**2 * s(a2),
               9 * m * g * s(a1) - 3 * m * l * w2**2 * s(a1 - a2),
               3 * l * w1**2 * s(a1 - a2) + 3 * g * s(a2)]  # fmt: skip
        vd, w1d, w2d = np.linalg.solve(np.array(A), np.array(rhs))
        found = derivative(CartDoublePendulum(), x, jnp.array([f]))
        np.testing.assert_allclose(found, [v, vd, w1, w2, w1d, w2d], rtol=1e-10)
    assert CartDoublePendulum().dt == 0.05


def test_cartpole_has_the_published_constants_and_equations():
    """The accelerations as printed with the release that the constants come from."""
    with jax.enable_x64():
        x, force = np.array([0.3, -1.2, 2.1, 3.4]), 4.0
        M = m = l = 0.5  # noqa: E741
        b, g, v, w, s, c = 0.1, 9.82, x[1], x[3], np.sin(x[2]), np.cos(x[2])
        xdd = (2 * m * l * w**2 * s + 3 * m * g * s * c + 4 * force - 4 * b * v) / (4 * (M + m) - 3 * m * c**2)
        wdd = (-3 * m * l * w**2 * s * c - 6 * (M + m) * g * s - 6 * (force - b * v) * c) / (
            4 * l * (m + M) - 3 * m * l * c**2
        )
        np.testing.assert_allclose(derivative(CartPole(), x, np.array([force])), [v, xdd, w, wdd], rtol=1e-12)
    assert CartPole().dt == 0.1
