"""Several functions sampled from a model's posterior at once."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.random as jr
from jaxtyping import Array, PRNGKeyArray


@runtime_checkable
class HasDrawMany(Protocol):
    """Capability of models that sample several functions at once, at a lower cost than one at a time (ensembles)."""

    def draw_many(self, count: int, *, key: PRNGKeyArray) -> tuple[Any, int]: ...


def draw_many(function: Any, count: int, *, key: PRNGKeyArray) -> tuple[Any, int]:
    """`count` draws as (stack [G], copies), where `G * copies = count`.

    Use the stack under `eqx.filter_vmap`; each of its G functions represents `copies` draws.  For an ensemble G is
    the number of members, so that no copy of the weights is gathered for each particle.
    """
    if isinstance(function, HasDrawMany):
        return function.draw_many(count, key=key)
    return eqx.filter_vmap(lambda k: function.draw(key=k))(jr.split(key, count)), 1


def over_draws(f: Callable, function: Any, *inputs: Any, key: PRNGKeyArray) -> Any:
    """`f(a draw of `function`, *row)` for each row of `inputs`, stacked; rows that share a draw are one group.

    Args:
        f: takes a function and one row of each input.
        function: a model or dynamics.
        inputs: pytrees of arrays with leading axis [P].
        key: decides the draws.
    """
    count = jax.tree.leaves(inputs)[0].shape[0]
    functions, copies = draw_many(function, count, key=key)
    groups = count // copies

    def apart(a: Array) -> Array:
        return a.reshape(groups, copies, *a.shape[1:])

    def group(drawn: Any, *rows: Any) -> Any:
        return jax.vmap(lambda *row: f(drawn, *row))(*rows)

    inputs = jax.tree.map(apart, inputs)
    out = eqx.filter_vmap(group, in_axes=(eqx.if_array(0), *[eqx.if_array(0)] * len(inputs)))(functions, *inputs)
    return jax.tree.map(lambda a: a.reshape(count, *a.shape[2:]), out)
