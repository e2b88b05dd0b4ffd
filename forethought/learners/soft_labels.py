"""Distillation of a categorical teacher: a student is fitted to the teacher's distributions.

Symbols: x an input; n classes or actions; v, z [n] logits of the teacher and of the student at x; T the temperature;
p_T = softmax(v / T), q_T = softmax(z / T); y the label; w the weight of labels; centered: minus the mean over classes.
    kl    T^2 KL(p_T || q_T)               T^2 keeps the size of the gradient independent of T
    nll   -log q_1(argmax v)               the teacher's choice as a hard label
    mse   |centered v - centered z|^2 / 2n     the limit of kl for T to infinity
    loss = (1 - w) (one of these) - w log q_1(y)
A high temperature shows the student how the teacher ranks the unlikely classes.
Source: Hinton et al. (2015), Distilling the knowledge in a neural network, section 2; the three losses for policies:
Rusu et al. (2016), Policy distillation, section 3.1.
Differs: Rusu et al. divide only the teacher's outputs by a temperature; divide the rows of `teacher` for this.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from forethought.core import Conditional, NumericalFailure, UsageError
from forethought.core.settings import settings
from forethought.networks.descent import decaying_adam, descend

LossName = Literal["kl", "nll", "mse"]


def kl_loss(z: Float[Array, "n"], v: Float[Array, "n"], T: Any = 1.0) -> Float[Array, ""]:
    """`T^2 KL(softmax(v / T) || softmax(z / T))` of the student's logits z, in nats; -inf in v is probability zero."""
    log_p, log_q = jax.nn.log_softmax(v / T), jax.nn.log_softmax(z / T)
    possible = jnp.isfinite(log_p)
    gap = jnp.where(possible, jnp.where(possible, log_p, 0) - log_q, 0)
    return T**2 * jnp.sum(jnp.exp(log_p) * gap)


def nll_loss(z: Float[Array, "n"], v: Float[Array, "n"], T: Any = 1.0) -> Float[Array, ""]:
    """Negative log-probability, in nats, of the teacher's most probable choice; the temperature has no effect."""
    del T
    return -jax.nn.log_softmax(z)[jnp.argmax(v)]


def mse_loss(z: Float[Array, "n"], v: Float[Array, "n"], T: Any = 1.0) -> Float[Array, ""]:
    """Half the mean squared difference of the logits, each centered; the temperature has no effect."""
    del T
    return 0.5 * jnp.mean(((z - jnp.mean(z)) - (v - jnp.mean(v))) ** 2)


LOSSES: dict[str, Callable[..., Float[Array, ""]]] = {"kl": kl_loss, "nll": nll_loss, "mse": mse_loss}


class SoftLabelReport(eqx.Module):
    """How well the student imitates."""

    first: Float[Array, ""]  # loss of the first minibatch
    last: Float[Array, ""]  # mean loss of the last tenth of the updates
    disagreement: Float[Array, ""]  # share of rows in the last tenth with another choice than the teacher's

    @property
    def metrics(self) -> dict[str, float]:
        """For the record of a run."""
        return {"distillation_loss": float(self.last), "disagreement": float(self.disagreement)}


@settings
class SoftLabels:
    """Settings of distillation by soft labels."""

    loss: LossName = "kl"  # kl: soft labels; nll: the teacher's choice; mse: logits
    temperature: float = 1.0  # T of the kl loss
    label_weight: float = 0.0  # weight of true labels, from 0 to 1
    updates: int = 3000  # gradient steps
    batch: int = 128  # rows of a batch
    learning_rate: float = 2e-3  # first step size of Adam; it decreases to zero
    weight_decay: float = 0.0  # decoupled weight decay of Adam

    def __post_init__(self):
        """Refuse settings out of range."""
        for name in ("temperature", "updates", "batch", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"SoftLabels.{name} must be positive, got {getattr(self, name)}.")
        if not 0 <= self.label_weight <= 1:
            raise ValueError(f"SoftLabels.label_weight must be from 0 to 1, got {self.label_weight}.")
        if not self.weight_decay >= 0:
            raise ValueError(f"SoftLabels.weight_decay must not be negative, got {self.weight_decay}.")

    def fit(
        self,
        student: Conditional,
        xs: Any,
        teacher: Float[Array, "N n"],
        size: Int[Array, ""] | int,
        *,
        labels: Int[Array, "N"] | None = None,
        key: PRNGKeyArray,
    ) -> tuple[Any, SoftLabelReport]:
        """The student fitted to the first `size` rows; compiled once for each N.

        Args:
            student: the initial student; `student(x)` has `logits` [n], like `Categorical`.
            xs: inputs, a pytree of arrays with leading axis [N].
            teacher: the teacher's logits at these inputs.
            size: how many rows hold data.
            labels: true labels, used with `label_weight` only.
            key: random key.
        Raises:
            UsageError: student and teacher have different numbers of classes, or labels are missing.
            NumericalFailure: the loss is not finite.
        """
        labels = self._checked(student, xs, teacher, labels)
        fitted, report = _fit(_shape(self), student, xs, teacher, labels, *self._traced(size), key)
        return _finite(fitted, report)

    def fit_many(
        self,
        students: Any,
        xs: Any,
        teacher: Float[Array, "N n"],
        size: Int[Array, ""] | int,
        *,
        labels: Int[Array, "N"] | None = None,
        keys: Key[Array, "E"],
    ) -> tuple[Any, SoftLabelReport]:
        """Students stacked [E], each fitted as by `fit` with its own key; reports stacked [E]."""
        first = jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, students)
        labels = self._checked(first, xs, teacher, labels)
        fitted, report = _fit_many(_shape(self), students, xs, teacher, labels, *self._traced(size), keys)
        return _finite(fitted, report)

    def _traced(self, size: Any) -> tuple[Array, Array]:
        """What may change without a new compilation: the number of rows and the temperature."""
        return jnp.asarray(size), jnp.asarray(self.temperature, jnp.result_type(float))

    def _checked(self, student: Any, xs: Any, teacher: Array, labels: Array | None) -> Array:
        """The labels, zeros for none; raises `UsageError` for data that do not fit the student."""
        if self.label_weight > 0 and labels is None:
            raise UsageError(
                "SoftLabels.label_weight is above 0, and no labels are given: give labels, or set it to 0."
            )
        example = eqx.filter_eval_shape(student, jax.tree.map(lambda a: a[0], xs))
        if example.logits.shape != teacher.shape[1:]:
            sizes = f"{example.logits.shape[0]} classes, the teacher among {teacher.shape[1]}"
            raise UsageError(
                f"the student chooses among {sizes}: give both the same number, or the student a head for each teacher."
            )
        return jnp.zeros(teacher.shape[0], jnp.int32) if labels is None else jnp.asarray(labels)


def _shape(how: SoftLabels) -> SoftLabels:
    """The settings that a compilation depends on: all but the temperature."""
    return dataclasses.replace(how, temperature=1.0)


def _finite(fitted: Any, report: SoftLabelReport) -> tuple[Any, SoftLabelReport]:
    if not bool(jnp.all(jnp.isfinite(report.last))):
        raise NumericalFailure("the distillation diverged: lower the learning rate.")
    return fitted, report


def _descend(
    how: SoftLabels, student: Any, xs: Any, teacher: Array, labels: Array, size: Any, T: Any, key: PRNGKeyArray
) -> tuple[Any, SoftLabelReport]:
    def loss(student: Any, key: Any) -> tuple[Array, Array]:
        rows = jr.randint(key, (how.batch,), 0, size)
        zs = jax.vmap(lambda x: student(x).logits)(jax.tree.map(lambda a: a[rows], xs))
        vs = teacher[rows]
        soft = jnp.mean(jax.vmap(lambda z, v: LOSSES[how.loss](z, v, T))(zs, vs))
        hard = -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(zs), labels[rows][:, None], axis=1))
        other = jnp.mean(jnp.argmax(zs, axis=1) != jnp.argmax(vs, axis=1))
        return (1 - how.label_weight) * soft + how.label_weight * hard, other

    optimizer = decaying_adam(how.learning_rate, how.updates, weight_decay=how.weight_decay)
    fitted, losses, other = descend(loss, student, optimizer=optimizer, keys=jr.split(key, how.updates))
    last = max(1, how.updates // 10)
    return fitted, SoftLabelReport(losses[0], jnp.mean(losses[-last:]), jnp.mean(other[-last:]))


@eqx.filter_jit
def _fit(how: SoftLabels, student: Any, xs: Any, teacher: Any, labels: Any, size: Any, T: Any, key: Any) -> Any:
    return _descend(how, student, xs, jnp.asarray(teacher), labels, size, T, key)


@eqx.filter_jit
def _fit_many(how: SoftLabels, students: Any, xs: Any, teacher: Any, labels: Any, size: Any, T: Any, keys: Any) -> Any:
    def one(student: Any, key: Any) -> Any:
        return _descend(how, student, xs, jnp.asarray(teacher), labels, size, T, key)

    return eqx.filter_vmap(one)(students, keys)
