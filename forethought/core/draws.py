"""Several functions sampled from a model's posterior at once."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax.random as jr
from jaxtyping import PRNGKeyArray


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
