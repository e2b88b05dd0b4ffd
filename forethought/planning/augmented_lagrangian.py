"""State and action constraints by the augmented Lagrangian: a task whose cost includes a charge for violations.

Problem: as the planner's, subject to g(x_t, u_t, t) <= 0 [k] at every step and h(x_T) <= 0 [j].
Each g <= 0 with multiplier l >= 0 and penalty p > 0 adds to the cost
    (max(0, l + p g)^2 - l^2) / (2 p)
whose gradient is max(0, l + p g) dg; at a minimum, max(0, l + p g) is the next estimate of the multiplier.
Source: Nocedal & Wright, Numerical Optimization (2006), section 17.4, equations 17.64-17.66; Howell, Jackson &
Manchester (2019), "ALTRO", section III, for trajectories.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Problem, Trajectory, step_cost
from forethought.core.constraints import has_constraints
from forethought.tasks.wrapped_task import WrappedTask

IMPROVED = 0.25  # ratio of new to old residual below which the penalty does not change
MOST_PENALTY = 1e8  # largest penalty, relative to the initial one; larger penalties make the problem ill-conditioned


class ConstraintValues(eqx.Module):
    """`g` and `h` along a trajectory."""

    stage: Float[Array, "T k"]
    final: Float[Array, "j"]

    @property
    def violation(self) -> Float[Array, ""]:
        """The largest violation; 0 if all constraints hold."""
        return jnp.maximum(jnp.max(self.stage, initial=0), jnp.max(self.final, initial=0))


class Multipliers(eqx.Module):
    """The multiplier of each constraint, and the common penalty."""

    stage: Float[Array, "T k"]
    final: Float[Array, "j"]
    penalty: Float[Array, ""]
    residual: Float[Array, ""]  # largest violation, or slack of a constraint with a multiplier, at the last update


class PenalizedTask(WrappedTask):
    """The task `base` with its constraints replaced by costs for their violation."""

    base: Any  # a Task that HasConstraints
    multipliers: Multipliers
    t0: Int[Array, ""]  # step index of the first multipliers

    def cost(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Float[Array, ""]:
        """The base task's cost plus the cost of the constraints."""
        multipliers = self.multipliers.stage[t - self.t0]
        charge = _charge(self.base.constraint(x, u, t), multipliers, self.multipliers.penalty)
        return self.base.cost(x, u, t) + charge

    def step_cost(
        self, x: Float[Array, "n"], u: Float[Array, "m"], x_next: Float[Array, "n"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """The same for a task whose cost depends on the next state."""
        multipliers = self.multipliers.stage[t - self.t0]
        charge = _charge(self.base.constraint(x, u, t), multipliers, self.multipliers.penalty)
        return step_cost(self.base, x, u, x_next, t) + charge

    def final_cost(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """The same for the last state."""
        charge = _charge(self.base.final_constraint(x), self.multipliers.final, self.multipliers.penalty)
        return self.base.final_cost(x) + charge

    def initial(self, *, key: PRNGKeyArray) -> Float[Array, "n"]:
        """The base task's."""
        return self.base.initial(key=key)

    def terminal(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """The base task's."""
        return self.base.terminal(x)

    def solved(self, trajectory: Trajectory) -> Bool[Array, ""] | None:
        """The base task's."""
        return self.base.solved(trajectory)


def constraint_values(problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"]) -> ConstraintValues | None:
    """The constraints along a trajectory, T1 = T + 1; None for a task without constraints."""
    task: Any = problem.task
    if not has_constraints(task):
        return None
    stage = jax.vmap(task.constraint)(xs[:-1], us, problem.times(us.shape[0]))
    return ConstraintValues(stage, task.final_constraint(xs[-1]))


def first_multipliers(
    problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"], penalty: float
) -> Multipliers | None:
    """Multipliers of zero; None for a task without constraints."""
    values = constraint_values(problem, xs, us)
    if values is None:
        return None
    infinite, penalty_ = jnp.array(jnp.inf, xs.dtype), jnp.array(penalty, xs.dtype)
    return Multipliers(jnp.zeros_like(values.stage), jnp.zeros_like(values.final), penalty_, infinite)


def penalized(problem: Problem, multipliers: Multipliers | None) -> Problem:
    """The unconstrained problem for the current multipliers."""
    if multipliers is None:
        return problem
    return Problem(problem.dynamics, PenalizedTask(problem.task, multipliers, problem.t0), problem.t0)


def updated(multipliers: Multipliers, values: ConstraintValues, growth: float, most: float) -> Multipliers:
    """The next estimate of the multipliers; the penalty increases if violations decrease too slowly.

    Source: Nocedal & Wright (2006), equation 17.66 and framework 17.4.
    """
    p = multipliers.penalty
    residual = jnp.maximum(
        jnp.max(jnp.abs(jnp.maximum(values.stage, -multipliers.stage / p)), initial=0),
        jnp.max(jnp.abs(jnp.maximum(values.final, -multipliers.final / p)), initial=0),
    )
    grown = jnp.where(residual > IMPROVED * multipliers.residual, jnp.minimum(growth * p, most), p)
    stage = jnp.maximum(0, multipliers.stage + p * values.stage)
    final = jnp.maximum(0, multipliers.final + p * values.final)
    return Multipliers(stage, final, grown, residual)


def _charge(g: Float[Array, "k"], multiplier: Float[Array, "k"], penalty: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.sum(jnp.maximum(0, multiplier + penalty * g) ** 2 - multiplier**2) / (2 * penalty)
