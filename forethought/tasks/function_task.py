"""The task of a Gymnasium environment, with the user's cost and termination functions, if given."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Discrete, Trajectory, UsageError

CostFunction = Callable[[Array, Array], Array]  # cost(x [n], u [m]) -> []
TerminationFunction = Callable[[Array], Array]  # termination(x [n]) -> bool []


class FunctionTask(eqx.Module):
    """Action limits, horizon and time step of an environment, and its cost and termination if they are known.

    `cost_function(x, u)` and `termination_function(x)` are traceable by JAX, or None if they must be learned.
    """

    horizon: int = eqx.field(static=True)  # steps in an episode
    dt: float = eqx.field(static=True)  # s per step
    action_space: Box | Discrete
    cost_function: CostFunction | None = eqx.field(static=True, default=None)
    termination_function: TerminationFunction | None = eqx.field(static=True, default=None)

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """Raises `UsageError`: only the environment itself can give an initial state."""
        del key
        raise UsageError("The initial states of this environment are not known as a function; reset it to get one.")

    def cost(self, x: Shaped[Array, "*n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The user's cost; raises `UsageError` if none was given."""
        del t
        if self.cost_function is None:
            raise UsageError("The cost of this environment is not known: pass cost=..., or learn it from the rewards.")
        return jnp.asarray(self.cost_function(x, u)).astype(_real(x))

    def final_cost(self, x: Shaped[Array, "*n"]) -> Float[Array, ""]:
        """Zero."""
        return jnp.zeros((), _real(x))

    def terminal(self, x: Shaped[Array, "*n"]) -> Bool[Array, ""]:
        """The user's termination; raises `UsageError` if none was given."""
        if self.termination_function is None:
            raise UsageError("The terminal states are not known: pass termination=..., or learn them from episodes.")
        return jnp.asarray(self.termination_function(x)).astype(bool)

    def solved(self, trajectory: Trajectory) -> None:
        """None: the task has no test of its own."""
        del trajectory


def _real(x: Array) -> Any:
    """The dtype of costs: that of `x`, or the default real dtype if `x` holds integers."""
    return jnp.result_type(x.dtype, float)


def require_cost(cost: CostFunction, x: Any, u: Any) -> None:
    """Raise `UsageError` unless JAX can trace `cost(x, u)` and it returns a number; `x`, `u` are examples, or sizes."""
    _require_scalar(cost, "cost", "(x, u)", (x, u))


def require_termination(termination: TerminationFunction, x: Any) -> None:
    """Raise `UsageError` unless JAX can trace `termination(x)` and it returns a bool; `x` as in `require_cost`."""
    out = _require_scalar(termination, "termination", "(x)", (x,))
    if jnp.issubdtype(out.dtype, jnp.inexact):
        name = getattr(termination, "__name__", type(termination).__name__)
        remedy = "compare it, as in x[0] > 1.0"
        raise UsageError(f"The termination function '{name}' must return True or False, not a {out.dtype}: {remedy}.")


def _require_scalar(function: Callable, kind: str, arguments: str, examples: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """The shape and dtype of the function's result; raises `UsageError` unless it is a scalar."""
    name = f"The {kind} function '{getattr(function, '__name__', type(function).__name__)}'"
    probes = [jnp.zeros(example) if isinstance(example, int) else example for example in examples]
    try:
        out = jax.eval_shape(function, *probes)
    except jax.errors.JAXTypeError as error:
        remedy = "write it with jax.numpy, and jnp.where instead of if, and, or"
        raise UsageError(f"{name} cannot be traced by JAX ({type(error).__name__}): {remedy}.") from error
    except Exception as error:  # the user's code may raise anything
        shapes = ", ".join(str(list(probe.shape)) for probe in probes)
        message = f"{name} raised {type(error).__name__} ({first_line(error)}) when called as {kind}{arguments}"
        raise UsageError(f"{message} with shapes {shapes}.") from error
    shape = getattr(out, "shape", None)
    if shape != ():
        got = f"an array of shape {list(shape)}" if shape is not None else f"a {type(out).__name__}"
        raise UsageError(f"{name} must return one number for one state, but returns {got}: index or sum it.")
    return out


def first_line(error: BaseException) -> str:
    """The message of an exception, as one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
