"""Gradient shooting: descend the gradient of the total cost with respect to the whole action sequence.

Symbols: G action sequences us [G, T, m], optimized in parallel; v = (u - middle) / scale, actions rescaled to [-1, 1],
so that one step size works for every coordinate of the action.  After every step v is clipped to the limits.
The initial guesses are the middle of the action range and sinusoids of several frequencies: the cost of a swing-up has
many local minima, and zero gradient at rest.  All sequences are warm starts of the next control step.  The plan is the
sequence of lowest cost since the start of the search, without feedback.
Constraints of the task become costs (`forethought.planning.augmented_lagrangian`), whose multipliers change every
`TIGHTEN` iterations.  As the model's noise and uncertainty are ignored, its mean keeps the constraints.
Source: Kingma & Ba (2015), algorithm 1 (Adam); Nocedal & Wright (2006), algorithm 7.5, with a line search (L-BFGS).
Differs: both methods are projected onto the limits after each step; for L-BFGS this is a heuristic that works well if
few limits are active.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import HasSimulate, Plan, Problem, UsageError
from forethought.core.constraints import trajectory_excess
from forethought.core.settings import settings
from forethought.planning.anytime import one_step_later, run_search
from forethought.planning.augmented_lagrangian import (
    MOST_PENALTY,
    Multipliers,
    constraint_values,
    first_multipliers,
    penalized,
    updated,
)
from forethought.planning.candidates import INFEASIBLE, BestSequence
from forethought.planning.initial_guesses import action_scale, limits
from forethought.planning.particles import open_loop_plan, predicted_states
from forethought.planning.rollout import stage_costs

Method = Literal["adam", "l-bfgs"]
TIGHTEN = 10  # iterations between two updates of the multipliers
TOLERANCE = 1e-4  # sum of violations up to which constraints count as kept, in their units
AMPLITUDE = 0.5  # of the sinusoids, as a share of half the action range


class GradientShootingState(eqx.Module):
    """The warm start: initial sequences of the next search."""

    us: Float[Array, "G T m"]


class GradientShootingSearch(eqx.Module):
    """The state of one descent, or with a leading axis [G] of all descents."""

    v: Float[Array, "*G T m"]  # actions as shares of half their range
    memory: Any  # state of the optimizer
    best: BestSequence  # best sequence of each descent
    multipliers: Multipliers | None  # of the constraints; None without constraints
    steps: Int[Array, "*G"]  # iterations so far


@settings
class GradientShooting:
    """Settings of gradient shooting."""

    horizon: int = 12  # planning horizon, steps
    guesses: int = 16  # number of action sequences optimized in parallel
    iterations: int = 50  # descent steps per plan
    method: Method = "adam"  # optimizer: adam or l-bfgs
    step: float = 0.05  # step size of Adam, as a share of half the action range; L-BFGS has a line search
    penalty: float = 1.0  # initial penalty per squared unit of constraint violation
    penalty_growth: float = 10.0  # factor on the penalty where violations fall too slowly

    def __post_init__(self):
        """Check the settings."""
        for name in ("horizon", "guesses", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"GradientShooting.{name} must be at least 1, got {getattr(self, name)}.")
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"GradientShooting.method must be one of {known}; got '{self.method}'.")
        for name in ("step", "penalty"):
            if getattr(self, name) <= 0:
                raise ValueError(f"GradientShooting.{name} must be positive, got {getattr(self, name)}.")
        if self.penalty_growth < 1:
            raise ValueError(f"GradientShooting.penalty_growth must be at least 1, got {self.penalty_growth}.")

    def init(self, problem: Problem) -> GradientShootingState:
        """The initial guesses.

        Raises:
            UsageError: the dynamics are a simulator without derivatives.
        """
        _require_derivatives(problem)
        middle, scale = action_scale(problem.task)
        waves = jnp.asarray(sinusoids(self.guesses, self.horizon, middle.shape[0]), middle.dtype)
        return GradientShootingState(middle[None, None] + AMPLITUDE * scale[None, None] * waves)

    def with_guess(self, state: GradientShootingState, us: Float[Array, "T m"]) -> GradientShootingState:
        """`us` takes the place of the first sequence."""
        return GradientShootingState(state.us.at[0].set(us.astype(state.us.dtype)))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: GradientShootingState, *, key: PRNGKeyArray
    ) -> tuple[Plan, GradientShootingState]:
        """The best sequence after `iterations` descent steps, and the warm start for the next control step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: GradientShootingState) -> GradientShootingSearch:
        """The state at the warm start, before any evaluation."""
        low, high = limits(problem.task, x0.dtype)
        us = jnp.clip(state.us.astype(x0.dtype), low[None], high[None])
        middle, scale = _frame(problem, x0.dtype)
        v = (us - middle[None]) / scale[None]
        xs = jnp.broadcast_to(x0, (self.horizon + 1, *x0.shape))  # for the number of constraints alone
        first = lambda us: first_multipliers(problem, xs, us, self.penalty)  # noqa: E731
        memory, steps = jax.vmap(self._optimizer.init)(v), jnp.zeros(self.guesses, jnp.int32)
        return GradientShootingSearch(v, memory, jax.vmap(BestSequence.none_yet)(us), jax.vmap(first)(us), steps)

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: GradientShootingSearch, i: int, *, key: PRNGKeyArray
    ) -> GradientShootingSearch:
        """Evaluate each sequence and take one step down its gradient."""
        del i, key
        return jax.vmap(lambda one: self._descend(problem, x0, one))(search)

    def finish(
        self, problem: Problem, x0: Float[Array, "n"], search: GradientShootingSearch
    ) -> tuple[Plan, GradientShootingState]:
        """The sequence of lowest cost; the warm start is the best sequence of each descent, shifted by one step."""
        cheapest = jax.tree.map(lambda a: a[jnp.argmin(search.best.cost)], search.best)
        warm = GradientShootingState(jax.vmap(one_step_later)(search.best.us))
        return open_loop_plan(problem, x0, cheapest.us, cheapest.cost), warm

    def _descend(
        self, problem: Problem, x0: Float[Array, "n"], search: GradientShootingSearch
    ) -> GradientShootingSearch:
        """One step of one sequence; no step if the cost or its gradient is not finite."""
        middle, scale = _frame(problem, x0.dtype)
        low, high = ((limit - middle) / scale for limit in limits(problem.task, x0.dtype))

        charged = penalized(problem, search.multipliers)

        def cost(v: Float[Array, "T m"]) -> Float[Array, ""]:
            us = middle + scale * v
            return jnp.sum(stage_costs(charged, predicted_states(problem, x0, us), us))

        value, gradient = jax.value_and_grad(cost)(search.v)
        us = jnp.clip(middle + scale * search.v, *limits(problem.task, x0.dtype))
        multipliers, own = search.multipliers, value
        if multipliers is not None:
            xs = predicted_states(problem, x0, us)
            multipliers, own = self._tighten(problem, search, xs, us), _feasible_cost(problem, xs, us)
        best = search.best.or_cheaper(us, own)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient))
        held = ((search.v <= low) & (gradient > 0)) | ((search.v >= high) & (gradient < 0))
        gradient = jnp.where(held | ~finite, 0, gradient)
        more = {"value": value, "grad": gradient, "value_fn": cost} if self.method == "l-bfgs" else {}
        change, memory = self._optimizer.update(gradient, search.memory, search.v, **more)
        v = jnp.clip(search.v + jnp.where(finite, change, 0), low, high)
        return GradientShootingSearch(v, memory, best, multipliers, search.steps + 1)

    def _tighten(self, problem: Problem, search: GradientShootingSearch, xs: Array, us: Array) -> Multipliers:
        """The next estimate of the multipliers, every `TIGHTEN` iterations."""
        before, values = search.multipliers, constraint_values(problem, xs, us)
        assert before is not None and values is not None
        after = updated(before, values, self.penalty_growth, self.penalty * MOST_PENALTY)
        due = search.steps % TIGHTEN == TIGHTEN - 1
        return jax.tree.map(lambda new, old: jnp.where(due, new, old), after, before)

    @property
    def _optimizer(self) -> optax.GradientTransformationExtraArgs:
        return optax.lbfgs() if self.method == "l-bfgs" else optax.with_extra_args_support(optax.adam(self.step))


def _feasible_cost(problem: Problem, xs: Float[Array, "T1 n"], us: Float[Array, "T m"]) -> Float[Array, ""]:
    """The cost without charges; of a trajectory that violates constraints as in `planning/particles.py`."""
    excess = trajectory_excess(problem.task, xs, us, problem.times(us.shape[0]))
    cost = jnp.sum(stage_costs(problem, xs, us))
    return jnp.where(excess.amount > TOLERANCE, INFEASIBLE * (2 - 1 / (1 + excess.amount)), cost)


def sinusoids(count: int, steps: int, actions: int) -> Float[np.ndarray, "count steps actions"]:
    """Zero, then sinusoids with 1, 1, 2, 2, 3 ... half periods within the horizon, with both signs.

    The phase differs between coordinates of the action, so that no two coordinates are always equal.
    """
    t = (np.arange(steps) + 0.5) / steps
    number = np.arange(count)[:, None, None]
    halves, sign = (number + 1) // 2, np.where(number % 2, 1.0, -1.0)
    phase = np.pi * np.arange(actions) / max(actions, 1) / 2
    return np.where(number == 0, 0.0, sign * np.sin(np.pi * halves * t[None, :, None] + phase[None, None]))


def _require_derivatives(problem: Problem) -> None:
    """Raise if JAX cannot differentiate a simulator; found by tracing, without simulating a step."""
    if not isinstance(problem.dynamics, HasSimulate):
        return
    x0 = jax.eval_shape(lambda: problem.task.initial(key=jr.key(0)))
    us = jax.ShapeDtypeStruct((1, action_scale(problem.task)[0].shape[0]), x0.dtype)
    try:
        jax.eval_shape(jax.grad(lambda us, x0: jnp.sum(predicted_states(problem, x0, us))), us, x0)
    except (ValueError, NotImplementedError) as error:  # a callback without a derivative rule
        raise UsageError(
            "Gradient shooting needs derivatives of the dynamics, which this simulator does not provide. Planners "
            "without derivatives: cem, icem, mppi, random-shooting; ilqr takes finite differences."
        ) from error


def _frame(problem: Problem, dtype) -> tuple[Float[Array, "1 m"], Float[Array, "1 m"]]:
    middle, scale = action_scale(problem.task)
    return middle.astype(dtype)[None], scale.astype(dtype)[None]
