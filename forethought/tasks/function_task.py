"""A task given by functions of the user, as far as they are known: the task of an environment from elsewhere."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Box, Discrete, Trajectory, UsageError

CostFunction = Callable[[Array, Array], Array]  # cost(x [n], u [m]) -> []
TerminationFunction = Callable[[Array], Array]  # termination(x [n]) -> bool []


class FunctionTask(eqx.Module):
    """Action limits, horizon and time step of an environment, and its cost and termination as far as they are known.

    `cost_function(x, u)` and `termination_function(x)` are traceable by JAX; None where they must be learned.
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

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The user's cost; raises `UsageError` where none was given."""
        del t
        if self.cost_function is None:
            raise UsageError("The cost of this environment is not known: pass cost=..., or learn it from the rewards.")
        return jnp.asarray(self.cost_function(x, u)).astype(x.dtype)

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Zero."""
        return jnp.zeros((), x.dtype)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """The user's termination; raises `UsageError` where none was given."""
        if self.termination_function is None:
            raise UsageError("The terminal states are not known: pass termination=..., or learn them from episodes.")
        return jnp.asarray(self.termination_function(x)).astype(bool)

    def solved(self, trajectory: Trajectory) -> None:
        """None: the task has no test of its own."""
        del trajectory


def require_cost(cost: CostFunction, n: int, m: int) -> None:
    """Raise `UsageError` unless `cost(x [n], u [m])` can be traced by JAX and gives a number."""
    _require_scalar(cost, "cost", "(x, u)", (n, m))


def require_termination(termination: TerminationFunction, n: int) -> None:
    """Raise `UsageError` unless `termination(x [n])` can be traced by JAX and gives a truth value."""
    _require_scalar(termination, "termination", "(x)", (n,))


def _require_scalar(function: Callable, kind: str, arguments: str, sizes: tuple[int, ...]) -> None:
    name = f"The {kind} function '{getattr(function, '__name__', type(function).__name__)}'"
    probes = [jax.ShapeDtypeStruct((size,), jnp.result_type(float)) for size in sizes]
    try:
        out = jax.eval_shape(function, *probes)
    except jax.errors.JAXTypeError as error:
        remedy = "write it with jax.numpy, and jnp.where instead of if, and, or"
        raise UsageError(f"{name} cannot be traced by JAX ({type(error).__name__}): {remedy}.") from error
    except Exception as error:  # the user's code may raise anything
        shapes = ", ".join(f"[{size}]" for size in sizes)
        message = f"{name} raised {type(error).__name__} ({first_line(error)}) when called as {kind}{arguments}"
        raise UsageError(f"{message} with shapes {shapes}.") from error
    shape = getattr(out, "shape", None)
    if shape != ():
        got = f"an array of shape {list(shape)}" if shape is not None else f"a {type(out).__name__}"
        raise UsageError(f"{name} must return one number for one state, but returns {got}: index or sum it.")


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
