"""Known physics that a learned residual corrects: x' = physics(x, u) + residual(x, u).

The physics may have wrong parameters or leave forces out; a model learns the rest, r = x' - physics(x, u), with
differences of angles in [-pi, pi).  Far from the data the residual of a Gaussian process returns to its mean, so the
prediction returns to the physics.  Where the environment names velocities and an algorithm integrates positions, only
the residual of the velocities is learned, and that of a position is r_i = dt/2 r_j, as in `StateSpace.flow`.
`forethought.dynamics.learned.LearnedDynamics` holds both parts.
Source: Nguyen-Tuong & Peters (2010), "Using model knowledge for learning inverse dynamics", section II.B (a mean
function of a Gaussian process); the residual here is that of the forward dynamics.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from forethought.core import Continuous, Dynamics, UsageError


class Physics:
    """`x' = physics(x, u)`, from a function of that form or the mean of known `Dynamics` at step 0.

    Compared and hashed by identity, so that functions can be compiled for it.
    """

    def __init__(self, known: "Callable[..., Any] | Dynamics"):
        """`known`: traceable by JAX; see `require_physics` for a check."""
        self.known = known

    def __call__(self, x: Float[Array, "n"], u: Shaped[Array, "*m"]) -> Float[Array, "..."]:
        """The state after a step [n]."""
        known = self.known
        after = known(x, u, jnp.zeros((), jnp.int32)) if isinstance(known, Dynamics) else known(x, u)
        return after.mean if isinstance(after, Continuous) else jnp.asarray(after).astype(x.dtype)

    def __repr__(self) -> str:
        """The function's name, or the dynamics."""
        return f"Physics({getattr(self.known, '__name__', self.known)})"


def require_physics(known: Any, x: Any, u: Any, dt: float) -> Physics:
    """The physics, if JAX can trace them and they map states like `x` [n] and actions like `u` to states [n].

    Raises:
        UsageError: they do not, or are dynamics with another time step than `dt`, in s.
    """
    if isinstance(known, type):
        remedy = f"give an instance, such as my_physics = {known.__name__}() in a module of yours"
        raise UsageError(f"The physics '{known.__name__}' is a class: {remedy}.")
    name = f"The physics '{getattr(known, '__name__', type(known).__name__)}'"
    step = getattr(known, "dt", None)
    if isinstance(known, Dynamics) and isinstance(step, float) and not math.isclose(step, dt, rel_tol=1e-6):
        raise UsageError(f"{name} makes steps of {step:g} s, and the environment of {dt:g} s; give both one dt.")
    physics = Physics(known)
    shapes = f"physics(x, u) with shapes {list(x.shape)} and {list(u.shape)}"
    try:
        out = jax.eval_shape(physics, x, u)
    except jax.errors.JAXTypeError as error:
        remedy = "write it with jax.numpy, and jnp.where instead of if, and, or"
        raise UsageError(f"{name} cannot be traced by JAX ({type(error).__name__}): {remedy}.") from error
    except Exception as error:  # the user's code may raise anything
        what = (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
        raise UsageError(f"{name} raised {type(error).__name__} ({what}) when called as {shapes}.") from error
    if out.shape != x.shape:
        got = f"an array of shape {list(out.shape)}"
        raise UsageError(
            f"{name} must return the next state, of shape {list(x.shape)}, but returns {got} for {shapes}."
        )
    return physics
