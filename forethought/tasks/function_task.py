"""The task of a Gymnasium environment, with the user's cost, termination and constraint functions, if given."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Discrete, Trajectory, UsageError
from forethought.core.delay import resting_action

CostFunction = Callable[[Array, Array], Array]  # cost(x [n], u [m]) -> []
TerminationFunction = Callable[[Array], Array]  # termination(x [n]) -> bool []
ConstraintFunction = Callable[[Array, Array], Array]  # constraint(x [n], u [m]) -> [] or [k], not to be positive


class FunctionTask(eqx.Module):
    """Action limits, horizon and time step of an environment; its cost, termination and constraints if they are known.

    `cost_function(x, u)` and `termination_function(x)` are traceable by JAX, or None if they must be learned.
    """

    horizon: int = eqx.field(static=True)  # steps in an episode
    dt: float = eqx.field(static=True)  # s per step
    action_space: Box | Discrete
    cost_function: CostFunction | None = eqx.field(static=True, default=None)
    termination_function: TerminationFunction | None = eqx.field(static=True, default=None)
    constraint_function: ConstraintFunction | None = eqx.field(static=True, default=None)
    risk: float = eqx.field(static=True, default=0.0)  # largest probability with which a plan may violate constraints
    constraint_steps: int | None = eqx.field(static=True, default=None)  # first steps of a plan that are judged; all

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

    @property
    def constrained(self) -> bool:
        """Whether there are constraints; see `HasConstraints`."""
        return self.constraint_function is not None

    def constraint(self, x: Shaped[Array, "*n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """The values that must not be positive at a step, if the task is `constrained`."""
        assert self.constraint_function is not None
        del t
        return values_of(self.constraint_function, x, u)

    def final_constraint(self, x: Shaped[Array, "*n"]) -> Float[Array, "k"]:
        """The same of the last state, with `resting_action`, since no action acts."""
        assert self.constraint_function is not None
        return values_of(self.constraint_function, x, resting_action(self.action_space))


def values_of(constraint: ConstraintFunction, x: Shaped[Array, "*n"], u: Shaped[Array, "*m"]) -> Float[Array, "k"]:
    """The values of a user's constraint function, a number or an array, as real numbers [k]."""
    return jnp.ravel(jnp.asarray(constraint(x, u))).astype(_real(x))


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


def require_constraint(constraint: ConstraintFunction, x: Any, u: Any) -> None:
    """Raise `UsageError` unless JAX can trace `constraint(x, u)` and it returns numbers; `x`, `u` as in `require_cost`.

    The values must be real numbers, such as x[0] - 1.0: a bool does not tell the planner by how much it is violated.
    """
    out = _traced(constraint, "constraint", "(x, u)", (x, u))
    name = f"The constraint function '{getattr(constraint, '__name__', type(constraint).__name__)}'"
    if getattr(out, "ndim", 2) > 1 or out.size == 0:
        got = f"an array of shape {list(out.shape)}" if hasattr(out, "shape") else f"a {type(out).__name__}"
        raise UsageError(f"{name} must return a number, or one array of numbers, for one state; it returns {got}.")
    if not jnp.issubdtype(out.dtype, jnp.number):
        raise UsageError(
            f"{name} must return how far a limit is exceeded, a number that must not be positive, not a {out.dtype}: "
            "abs(x[0]) - 1.0 keeps |x[0]| at most 1."
        )


def _require_scalar(function: Callable, kind: str, arguments: str, examples: tuple[Any, ...]) -> jax.ShapeDtypeStruct:
    """The shape and dtype of the function's result; raises `UsageError` unless it is a scalar."""
    out = _traced(function, kind, arguments, examples)
    shape = getattr(out, "shape", None)
    if shape != ():
        name = f"The {kind} function '{getattr(function, '__name__', type(function).__name__)}'"
        got = f"an array of shape {list(shape)}" if shape is not None else f"a {type(out).__name__}"
        raise UsageError(f"{name} must return one number for one state, but returns {got}: index or sum it.")
    return out


def _traced(function: Callable, kind: str, arguments: str, examples: tuple[Any, ...]) -> Any:
    """What tracing the function yields; raises `UsageError` if JAX cannot trace it, or it raises."""
    name = f"The {kind} function '{getattr(function, '__name__', type(function).__name__)}'"
    probes = [jnp.zeros(example) if isinstance(example, int) else example for example in examples]
    try:
        return jax.eval_shape(function, *probes)
    except jax.errors.JAXTypeError as error:
        remedy = "write it with jax.numpy, and jnp.where instead of if, and, or"
        raise UsageError(f"{name} cannot be traced by JAX ({type(error).__name__}): {remedy}.") from error
    except Exception as error:  # the user's code may raise anything
        shapes = ", ".join(str(list(probe.shape)) for probe in probes)
        message = f"{name} raised {type(error).__name__} ({first_line(error)}) when called as {kind}{arguments}"
        raise UsageError(f"{message} with shapes {shapes}.") from error


def first_line(error: BaseException) -> str:
    """The message of an exception, as one line."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__
