"""Gradient shooting: descend the gradient of the total cost by the whole action sequence.

Actions are moved in shares of their scale, v = (u - middle) / scale, so that one step size suits them all, and are
brought back within the limits after every step.  The best sequence seen is the answer, without feedback.
Source: Kingma & Ba (2015), algorithm 1 (Adam); Nocedal & Wright (2006), algorithm 7.5, with a line search (L-BFGS).
Differs: both are projected onto the limits after each step; for L-BFGS this is a heuristic, good where few limits are
active.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import LinearGaussian, Plan, Problem, Result
from forethought.core.settings import settings
from forethought.planning.anytime import one_step_later, run_search
from forethought.planning.augmented_lagrangian import has_constraints
from forethought.planning.initial_guesses import action_scale, limits
from forethought.planning.rollout import follow, stage_costs

Method = Literal["adam", "l-bfgs"]


class GradientShootingState(eqx.Module):
    """The warm start: where the next search begins."""

    us: Float[Array, "T m"]


class GradientShootingSearch(eqx.Module):
    """Where the descent is, and the best it has seen."""

    v: Float[Array, "T m"]  # actions as shares of their scale
    memory: Any  # the optimizer's
    best: Float[Array, "T m"]  # actions
    cost: Float[Array, ""]  # of the best


@settings
class GradientShooting:
    """Settings of gradient shooting."""

    horizon: int = 30  # steps
    iterations: int = 100  # steps of descent
    method: Method = "adam"  # how to descend: adam or l-bfgs
    step: float = 0.05  # of Adam, as a share of half the action range; L-BFGS searches for its own

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name in ("horizon", "iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"GradientShooting.{name} must be at least 1, got {getattr(self, name)}.")
        if self.method not in get_args(Method):
            known = ", ".join(get_args(Method))
            raise ValueError(f"GradientShooting.method must be one of {known}; got '{self.method}'.")
        if self.step <= 0:
            raise ValueError(f"GradientShooting.step must be positive, got {self.step}.")

    def init(self, problem: Problem) -> GradientShootingState:
        """Start in the middle of the action range."""
        middle, _ = action_scale(problem.task)
        return GradientShootingState(jnp.broadcast_to(middle, (self.horizon, middle.shape[0])))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: GradientShootingState, *, key: PRNGKeyArray
    ) -> tuple[Plan, GradientShootingState]:
        """The best sequence met in `iterations` steps, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: GradientShootingState) -> GradientShootingSearch:
        """At the warm start."""
        us = jnp.clip(state.us.astype(x0.dtype), *limits(problem.task, x0.dtype))
        middle, scale = _frame(problem, x0.dtype)
        v = (us - middle) / scale
        return GradientShootingSearch(v, self._optimizer.init(v), us, _cost(problem, x0, us))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: GradientShootingSearch, i: int, *, key: PRNGKeyArray
    ) -> GradientShootingSearch:
        """One step of descent; none where the gradient is not finite."""
        del i, key
        middle, scale = _frame(problem, x0.dtype)
        low, high = ((limit - middle) / scale for limit in limits(problem.task, x0.dtype))

        def cost(v: Float[Array, "T m"]) -> Float[Array, ""]:
            return _cost(problem, x0, middle + scale * v)

        value, gradient = jax.value_and_grad(cost)(search.v)
        held = ((search.v <= low) & (gradient > 0)) | ((search.v >= high) & (gradient < 0))
        gradient = jnp.where(held | ~jnp.all(jnp.isfinite(gradient)), 0, gradient)
        more = {"value": value, "grad": gradient, "value_fn": cost} if self.method == "l-bfgs" else {}
        change, memory = self._optimizer.update(gradient, search.memory, search.v, **more)
        v = jnp.clip(search.v + change, low, high)
        us = jnp.clip(middle + scale * v, *limits(problem.task, x0.dtype))
        here = _cost(problem, x0, us)
        better = here < search.cost
        best = jnp.where(better, us, search.best)
        return GradientShootingSearch(v, memory, best, jnp.where(better, here, search.cost))

    def finish(
        self, problem: Problem, x0: Float[Array, "n"], search: GradientShootingSearch
    ) -> tuple[Plan, GradientShootingState]:
        """The best sequence as a plan; the descent has no test for being done, so it ends with its budget."""
        us = search.best
        xs, _ = follow(problem, x0, lambda _, t: us[t], us.shape[0])
        (T, m), n = us.shape, x0.shape[0]
        policy = LinearGaussian(jnp.zeros((T, m, n), us.dtype), us, jnp.zeros((T, m, m), us.dtype))
        end = Result.constraints_ignored if has_constraints(problem.task) else Result.budget_exhausted
        result = jnp.where(jnp.isfinite(search.cost), end, Result.not_finite).astype(int)
        return Plan(policy, xs, search.cost, result), GradientShootingState(one_step_later(us))

    @property
    def _optimizer(self) -> optax.GradientTransformationExtraArgs:
        return optax.lbfgs() if self.method == "l-bfgs" else optax.with_extra_args_support(optax.adam(self.step))


def _frame(problem: Problem, dtype) -> tuple[Float[Array, "1 m"], Float[Array, "1 m"]]:
    middle, scale = action_scale(problem.task)
    return middle.astype(dtype)[None], scale.astype(dtype)[None]


def _cost(problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> Float[Array, ""]:
    xs, us = follow(problem, x0, lambda _, t: us[t], us.shape[0])
    return jnp.sum(stage_costs(problem, xs, us))
