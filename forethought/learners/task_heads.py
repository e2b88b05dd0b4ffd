"""Fits a policy with a head for each task to the logits of an expert of each.

Symbols: K tasks; v, z [n] logits of expert and student at a row; w_k weight of task k:
    loss = sum_k w_k mean loss(z, v / temperature) / sum_k w_k
with one of the losses of `soft_labels`.
Source: Rusu et al. (2016), Policy distillation, section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.learners.shuffle import permutation
from forethought.learners.soft_labels import LOSSES, LossName
from forethought.networks.descent import clipped_adam
from forethought.policies.heads import TaskHeads


class Labeled(eqx.Module):
    """Observations of one task and the expert's logits there."""

    x: Shaped[Array, "N *n"]
    v: Float[Array, "N a"]


@dataclass(frozen=True)
class HeadsFit:
    """Settings of the fit."""

    loss: LossName
    temperature: float  # divides the experts' logits
    weights: tuple[float, ...]  # of the tasks; none: equal
    epochs: int  # passes through the rows
    batch: int  # rows of each task in a minibatch
    learning_rate: float  # of Adam
    max_gradient_norm: float  # longer gradients are scaled down to it
    decay_steps: int | None  # steps of each task in which the learning rate falls to zero; none: it is constant

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam, gradients clipped to a norm."""
        updates = None if self.decay_steps is None else -(-self.decay_steps * self.epochs // self.batch)
        return clipped_adam(self.learning_rate, self.max_gradient_norm, decay_updates=updates)

    def init(self, student: TaskHeads) -> Any:
        """The memory of the optimizer before any data."""
        return self.optimizer.init(eqx.filter(student, eqx.is_inexact_array))

    def update(
        self, student: TaskHeads, memory: Any, rows: tuple[Labeled, ...], *, key: PRNGKeyArray
    ) -> tuple[TaskHeads, Any, dict[str, Float[Array, "K"]]]:
        """Passes through the rows of all tasks, as many of each; also loss and disagreement of each task."""
        return _fitted(self, student, memory, rows, key)


@eqx.filter_jit
def _fitted(
    how: HeadsFit, student: TaskHeads, memory: Any, rows: tuple[Labeled, ...], key: PRNGKeyArray
) -> tuple[TaskHeads, Any, dict[str, Float[Array, "K"]]]:
    """Passes through the rows of all games."""
    count = rows[0].v.shape[0]
    size = min(how.batch, count)
    batches = count // size
    arrays, static = eqx.partition(student, eqx.is_inexact_array)

    def step(carry: tuple, at: Int[Array, "K b"]) -> tuple[tuple, dict]:
        arrays, memory = carry
        some = tuple(Labeled(one.x[i], one.v[i]) for one, i in zip(rows, at, strict=True))
        (_, told), gradient = jax.value_and_grad(
            lambda arrays: losses(how, eqx.combine(arrays, static), some), has_aux=True
        )(arrays)
        change, memory = how.optimizer.update(gradient, memory)
        return (optax.apply_updates(arrays, change), memory), told

    def epoch(carry: tuple, key: PRNGKeyArray) -> tuple[tuple, dict]:
        orders = [permutation(count, key=k)[: batches * size].reshape(batches, size) for k in jr.split(key, len(rows))]
        return jax.lax.scan(step, carry, jnp.stack(orders, axis=1))

    (arrays, memory), told = jax.lax.scan(epoch, (arrays, memory), jr.split(key, how.epochs))
    return eqx.combine(arrays, static), memory, jax.tree.map(lambda a: jnp.mean(a, axis=(0, 1)), told)


def losses(
    how: HeadsFit, student: TaskHeads, rows: Sequence[Labeled]
) -> tuple[Float[Array, ""], dict[str, Float[Array, "K"]]]:
    """The weighted loss of a minibatch of each game; the loss, and the share of other choices, of each."""
    each, other = [], []
    for k, some in enumerate(rows):
        policy = student.policy(k)
        zs = jax.vmap(lambda x: policy(x).logits)(some.x)  # type: ignore[attr-defined]  # noqa: B023
        each.append(jnp.mean(jax.vmap(lambda z, v: LOSSES[how.loss](z, v, 1.0))(zs, some.v / how.temperature)))
        other.append(jnp.mean((jnp.argmax(zs, -1) != jnp.argmax(some.v, -1)).astype(zs.dtype)))
    weights = jnp.asarray(how.weights or (1.0,) * len(rows))
    told = {"loss": jnp.stack(each), "disagreement": jnp.stack(other)}
    return weights @ told["loss"] / jnp.sum(weights), told
