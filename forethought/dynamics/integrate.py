"""Numerical integration of equations of motion between two decisions."""

from collections.abc import Callable

from jaxtyping import Array, Float


def rk4(
    derivative: Callable[[Float[Array, "n"], Float[Array, "m"]], Float[Array, "n"]],
    x: Float[Array, "n"],
    u: Float[Array, "m"],
    *,
    dt: float,
    substeps: int = 1,
) -> Float[Array, "n"]:
    """The state `dt` seconds after `x` while `u` is held constant (zero-order hold).

    Args:
        derivative: `dx/dt` as a function of state and action.
        x: state.
        u: action.
        dt: time to the next decision, in s.
        substeps: equal Runge-Kutta steps taken within `dt`; the error falls with their fourth power.
    Source: the classical fourth-order Runge-Kutta method (Hairer, Norsett & Wanner, 1993, section II.1, table 1.2).
    """
    h = dt / substeps
    for _ in range(substeps):  # unrolled: substeps are few, and one fused kernel is several times faster than a loop
        k1 = derivative(x, u)
        k2 = derivative(x + 0.5 * h * k1, u)
        k3 = derivative(x + 0.5 * h * k2, u)
        k4 = derivative(x + h * k3, u)
        x = x + (h / 6) * (k1 + 2 * k2 + 2 * k3 + k4)
    return x
