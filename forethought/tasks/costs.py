"""Functions shared by tasks: costs, and the test whether a condition holds for the whole last second."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def quadratic(deviation: Float[Array, "*k"], *, weight: float) -> Float[Array, ""]:
    """`weight |deviation|^2`; the unit of `weight` is the inverse square of that of `deviation`."""
    return weight * jnp.sum(deviation**2)


def saturating(squared_distance: Float[Array, ""], *, width: float) -> Float[Array, ""]:
    """`1 - exp(-d^2 / (2 width^2))`: quadratic near zero, and close to 1 far away.

    Args:
        squared_distance: `d^2`.
        width: distance at which the cost is 0.39, in the unit of `d`.
    Source: Deisenroth & Rasmussen (2011), equation 25.
    """
    return -jnp.expm1(-squared_distance / (2 * width**2))


def linear_quadratic(
    squared_distance: Float[Array, ""], *, linear: float, quadratic: float, rounding: float
) -> Float[Array, ""]:
    """`0.5 quadratic d^2 + linear (sqrt(rounding + d^2) - sqrt(rounding))`: also near zero, its slope is not small.

    Args:
        squared_distance: `d^2`.
        linear: slope of the linear part, per unit of `d`.
        quadratic: per squared unit of `d`.
        rounding: the linear part is smooth where `d^2` is below this value.
    """
    root = jnp.sqrt(rounding + squared_distance) - rounding**0.5
    return 0.5 * quadratic * squared_distance + linear * root


def never() -> Bool[Array, ""]:
    """False: the value of `terminal` for tasks that only the time limit ends."""
    return jnp.zeros((), bool)


def holds_at_end(condition: Bool[Array, "S"], *, seconds: float, dt: float) -> Bool[Array, ""]:
    """Whether `condition`, one value per state, is true in every state of the last `seconds` of a trajectory."""
    return jnp.all(condition[-(round(seconds / dt) + 1) :])
