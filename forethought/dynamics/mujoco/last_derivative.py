"""`last_derivative`: marks values that have no derivative; differentiating them raises a `UsageError`.

It is a JAX primitive, because `jax.custom_jvp` is not enough: inside `jax.lax.scan`, reverse-mode differentiation
evaluates the function without its custom rule, and a second differentiation then fails inside JAX.
"""

from typing import Any

from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Shaped

from forethought.core import UsageError

_last_derivative = Primitive("last_derivative")


def last_derivative(x: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
    """`x` unchanged, marked as having no derivative.

    Raises:
        UsageError: the value is differentiated, in forward or reverse mode.
    """
    return _last_derivative.bind(x)


def _identity(x: Any) -> Any:
    return x


def _refuse(*_: Any) -> Any:
    raise UsageError(
        "MuJoCo gives no second derivatives: plan with a method that needs none (iLQR with second_order off, "
        "or a sampling planner: CEM, iCEM, MPPI, random shooting)."
    )


_last_derivative.def_impl(_identity)
_last_derivative.def_abstract_eval(_identity)
ad.primitive_jvps[_last_derivative] = _refuse
batching.primitive_batchers[_last_derivative] = lambda args, axes: (_last_derivative.bind(*args), axes[0])
mlir.register_lowering(_last_derivative, lambda _, x: [x])
