"""Constraints on states and actions: functions whose values must not be positive.

    g(x_t, u_t, t) <= 0 [k]   at each step of an episode
    h(x_K) <= 0 [j]           in the state in which it ends, terminal or not
Where the model is uncertain, a plan may violate them with a probability of at most `risk`: the probability that any of
its first `constraint_steps` steps, or of all its steps, violates any constraint (a joint chance constraint).  A
controller that plans in each step corrects what was uncertain; for it the steps suffice that it takes to turn back from
the limit, and judging many more makes it far too careful.
Source: Blackmore et al. (2010), "A probabilistic particle-control approximation of chance-constrained stochastic
predictive control", section II; as there, planners estimate the probability by samples.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from forethought.core.timing import alive


@runtime_checkable
class HasConstraints(Protocol):
    """Capability of a task: functions of state and action whose values must not be positive.

    A task that wraps another one has these functions always; its property `constrained` tells whether the wrapped task
    has any.  A property `risk`, in [0, 1), is the largest probability of a violation, 0 without it;
    `constraint_steps` is how many steps of a plan are judged, all without it or where it is None.
    """

    def constraint(self, x: Float[Array, "n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, "k"]: ...

    def final_constraint(self, x: Float[Array, "n"]) -> Float[Array, "j"]: ...


def has_constraints(task: Any) -> bool:
    """Whether the task has constraints on states and actions beyond the limits of its action space."""
    return isinstance(task, HasConstraints) and bool(getattr(task, "constrained", True))


def risk_of(task: Any) -> float:
    """The largest probability with which a plan may violate the task's constraints."""
    return float(getattr(task, "risk", 0.0))


def judged_steps(task: Any, steps: int) -> int:
    """How many steps of a plan of `steps` steps must keep the constraints; the last state too if all must."""
    limit = getattr(task, "constraint_steps", None)
    return steps if limit is None else min(limit, steps)


class Excess(eqx.Module):
    """By how much constraints are violated: of a trajectory, or of a stack of them."""

    violated: Bool[Array, "*r"]  # any constraint, at any step
    amount: Float[Array, "*r"]  # sum of all positive values; infinite where a value is NaN

    @staticmethod
    def none(shape: tuple[int, ...], dtype: Any) -> "Excess":
        """No violation."""
        return Excess(jnp.zeros(shape, bool), jnp.zeros(shape, dtype))

    @staticmethod
    def of(values: Float[Array, "k"]) -> "Excess":
        """Of the values of all constraints at one step."""
        amount = jnp.sum(jnp.where(jnp.isnan(values), jnp.inf, jnp.maximum(values, 0)))
        return Excess(~jnp.all(values <= 0), amount)

    def plus(self, other: "Excess", where: Bool[Array, "*r"]) -> "Excess":
        """With that of a further step, where the episode still runs."""
        return Excess(self.violated | (other.violated & where), self.amount + jnp.where(where, other.amount, 0))


def step_excess(task: Any, x: Float[Array, "n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Excess:
    """The violation of one step."""
    return Excess.of(task.constraint(x, u, t).astype(x.dtype))


def final_excess(task: Any, x: Float[Array, "n"]) -> Excess:
    """The violation of the state in which an episode ends."""
    return Excess.of(task.final_constraint(x).astype(x.dtype))


def trajectory_excess(task: Any, xs: Float[Array, "T1 n"], us: Shaped[Array, "T *m"], times: Int[Array, "T"]) -> Excess:
    """The violation of a plan up to its first terminal state, in the steps that are judged; T1 = T + 1."""
    T = us.shape[0]
    judged = jnp.arange(T) < judged_steps(task, T)
    runs = alive(task, xs)
    steps = jax.vmap(lambda x, u, t: step_excess(task, x, u, t))(xs[:-1], us, times)
    ends = jax.vmap(lambda x: final_excess(task, x))(xs[1:])
    last = judged & runs[:-1] & (~runs[1:] | (jnp.arange(T) == T - 1))
    counted = judged & runs[:-1]
    amount = jnp.where(counted, steps.amount, 0) + jnp.where(last, ends.amount, 0)
    return Excess(jnp.any((steps.violated & counted) | (ends.violated & last)), jnp.sum(amount))
