"""Stochastic gradient descent on a loss, in one compiled loop: what every fit to minibatches shares.

Symbols: module m, with trainable arrays a; step i: a <- a + optimizer(grad loss(m, key_i)), one key for each step.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import optax
from jaxtyping import Array, Float, Key


def descend(
    loss: Callable[[Any, Any], tuple[Float[Array, ""], Any]],
    module: Any,
    *,
    optimizer: optax.GradientTransformation,
    keys: Key[Array, "S"],
) -> tuple[Any, Float[Array, "S"], Any]:
    """The module after one gradient step for each key; works under `jit` and `vmap`.

    Args:
        loss: `loss(module, key)` returns the loss of a random minibatch, and anything else to record.
        module: the initial module; its arrays of real numbers are trained.
        optimizer: an Optax optimizer.
        keys: one for each step.

    Returns:
        The trained module, the loss before each step, and what was recorded, stacked [S].
    """
    arrays, static = eqx.partition(module, eqx.is_inexact_array)

    def loss_of(arrays: Any, key: Any) -> tuple[Array, Any]:
        return loss(eqx.combine(arrays, static), key)

    def update(carry: tuple[Any, Any], key: Any) -> tuple[tuple[Any, Any], tuple[Array, Any]]:
        arrays, memory = carry
        told, gradient = jax.value_and_grad(loss_of, has_aux=True)(arrays, key)
        change, memory = optimizer.update(gradient, memory, arrays)
        return (optax.apply_updates(arrays, change), memory), told

    (arrays, _), (losses, recorded) = jax.lax.scan(update, (arrays, optimizer.init(arrays)), keys)
    return eqx.combine(arrays, static), losses, recorded


def decaying_adam(
    learning_rate: float, updates: int, *, weight_decay: float = 0.0, decay: bool = True
) -> optax.GradientTransformation:
    """Adam; with `decay`, the step size goes to zero along a cosine, so that the last minibatches add no noise.

    Source: Loshchilov & Hutter (2017), SGDR, equation 5 without restarts; (2019), Decoupled weight decay.
    """
    rate = optax.cosine_decay_schedule(learning_rate, updates) if decay else learning_rate
    return optax.adamw(rate, weight_decay=weight_decay) if weight_decay else optax.adam(rate)


def clipped_adam(
    learning_rate: float, max_gradient_norm: float, *, decay_updates: int | None = None
) -> optax.GradientTransformation:
    """Adam, gradients clipped to a norm; on all parameters as one vector, which saves many small kernels.

    With `decay_updates` the learning rate falls to zero in a line within as many updates.  Source: CleanRL,
    Stable-Baselines3, whose epsilon of 1e-5 this is.
    """
    rate = learning_rate if decay_updates is None else optax.linear_schedule(learning_rate, 0.0, decay_updates)
    return optax.flatten(optax.chain(optax.clip_by_global_norm(max_gradient_norm), optax.adam(rate, eps=1e-5)))
