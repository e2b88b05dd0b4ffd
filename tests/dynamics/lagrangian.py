"""Equations of motion by automatic differentiation of kinetic minus potential energy: the independent reference."""

import jax
import jax.numpy as jnp


def accelerations(kinetic, potential, q, qd, generalized):
    """`d/dt dL/dqd - dL/dq = generalized`, solved for `d2q/dt2`."""

    def lagrangian(q, qd):
        return kinetic(q, qd) - potential(q)

    mass = jax.hessian(lagrangian, 1)(q, qd)
    coriolis = jax.jacobian(jax.grad(lagrangian, 1), 0)(q, qd) @ qd
    return jnp.linalg.solve(mass, jax.grad(lagrangian)(q, qd) - coriolis + generalized)


def rod(mass, length, center, angle):
    """Kinetic energy and height, as functions, of a uniform rod whose center and angle are functions of q."""

    def kinetic(q, qd):
        velocity = jax.jvp(center, (q,), (qd,))[1]
        spin = jax.jvp(angle, (q,), (qd,))[1]
        return 0.5 * mass * velocity @ velocity + 0.5 * (mass * length**2 / 12) * spin**2

    return kinetic, lambda q: mass * center(q)[1]
