"""Plan with a known model, act, and report the result, without learning.

A planner whose horizon covers the episode plans once, before the episode; the feedback policy of this plan then acts.
Any other planner plans at every step (MPC).  Planning times do not include compilation.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Planner, Problem, Result, Transition, UsageError
from forethought.envs.env import Env
from forethought.envs.violations import Violations
from forethought.planning.anytime import AnytimePlanner
from forethought.planning.mpc import Latency, TimedMPC
from forethought.runs import metrics


@dataclass(frozen=True)
class Planned:
    """The result of one planner in one episode."""

    planner: str
    receding: bool  # whether it plans at every step, instead of once
    cost: float  # of the executed episode, final cost included
    planned_cost: float  # of the first plan, over its own horizon
    converged: bool | None  # whether every plan met the planner's test of convergence; None if the planner has none
    iterations: float | None  # mean number per plan; None if the planner does not report it
    wall_s: float  # s of planning in the episode, without compilation
    compile_s: float
    latency: Latency  # statistics of the planning time per plan
    success: bool | None  # result of the task's success test; None if it has none
    length: int  # steps
    violations: Violations | None  # of the problem's constraints in the episode; None if it has none
    plan: Plan  # the first
    episode: Transition

    def as_json(self) -> dict[str, Any]:
        """The numbers as a JSON object."""
        names = "planner receding cost planned_cost converged iterations wall_s compile_s success length"
        numbers = {name: getattr(self, name) for name in names.split()} | {"latency_s": vars(self.latency)}
        if self.violations is not None:
            numbers["violations"] = vars(self.violations)
        return metrics.finite(numbers)


def plan_on(
    env: Env,
    problem: Problem,
    planner: Planner,
    *,
    name: str,
    receding: bool | None = None,
    budget_s: float | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> Planned:
    """One episode of `env` under `planner`, whose model is `problem`.

    Args:
        env: the environment; its observations are the states of `problem`.
        problem: the exact model.
        planner: settings.
        name: name of the planner in tables.
        receding: whether to plan at every step; if None, only if the planner's horizon is shorter than the episode.
        budget_s: time limit of each plan, in s; plans at every step; the planner must be an `AnytimePlanner`.
        seed: of the initial state and of everything random in the planner.
        on_step: called with the number of steps done and the return so far.
    """
    if not math.isclose(env.task.dt, problem.task.dt, rel_tol=1e-6):
        steps = f"the model has steps of {problem.task.dt:g} s, and {env.name} of {env.task.dt:g} s"
        raise UsageError(f"The plans do not fit the environment: {steps}; give both the same dt.")
    horizon = getattr(planner, "horizon", None)
    if receding is None:
        receding = budget_s is not None or (horizon is not None and horizon < problem.task.horizon)
    watch = _Recorder(planner, problem, receding, budget_s)
    episode = env.run(watch, key=jr.key(seed), on_step=on_step)
    first = watch.plans[0]
    return Planned(
        planner=name,
        receding=receding,
        cost=_cost(problem, episode),
        planned_cost=float(first.cost),
        converged=_converged(planner, watch.plans),
        iterations=watch.iterations,
        wall_s=float(np.sum(watch.seconds)),
        compile_s=watch.compile_s,
        latency=Latency.of(watch.seconds),
        success=metrics.is_solved(env, episode),
        length=len(episode),
        violations=Violations.of(problem.task, [episode]),
        plan=first,
        episode=episode,
    )


def _converged(planner: Planner, plans: list[Plan]) -> bool | None:
    """Whether all plans converged; None if they used up their budget and the planner has no `tolerance`."""
    results = {int(plan.result) for plan in plans}
    if results <= {Result.converged, Result.budget_exhausted} and results != {Result.converged}:
        return False if hasattr(planner, "tolerance") else None
    return results == {Result.converged}


def _cost(problem: Problem, episode: Transition) -> float:
    """The cost of the episode, with the final cost if no terminal state ended it."""
    end = 0.0 if episode.terminated[-1] else float(problem.task.final_cost(jnp.asarray(episode.x_next[-1])))
    return end - float(np.sum(episode.reward))


class _Recorder:
    """A controller on the host that records its plans and their planning times."""

    def __init__(self, planner: Planner, problem: Problem, receding: bool, budget_s: float | None):
        self._planner, self._problem, self._receding = planner, problem, receding
        if budget_s is not None and not isinstance(planner, AnytimePlanner):
            raise UsageError(f"{type(planner).__name__} cannot be stopped early, so it takes no time budget.")
        self._timed = None if budget_s is None else TimedMPC(planner, problem, budget_s)  # type: ignore[arg-type]
        self.plans: list[Plan] = []
        self.seconds: list[float] = []
        self.compile_s = 0.0

    @property
    def on_host(self) -> bool:
        """Always True: the controller reads the clock."""
        return True

    @property
    def iterations(self) -> float | None:
        """Mean number of iterations per plan."""
        if self._timed is not None:
            return float(np.mean(self._timed.iterations))
        told: list[Any] = [plan.iterations for plan in self.plans if plan.iterations is not None]
        if not told and hasattr(self._planner, "iterations"):
            told = [self._planner.iterations]
        return float(np.mean(told)) if told else None

    def init(self, x0: Any, *, key: PRNGKeyArray) -> Any:
        """Compile the planner; if there is one plan for the whole episode, make it."""
        x0 = jnp.asarray(x0)
        if self._timed is not None:
            state = self._timed.init(x0, key=key)
            self.compile_s = self._timed.compile_s
            return state
        state = self._planner.init(self._problem)
        start = time.perf_counter()
        self._plan = _compiled(self._planner, self._problem, x0, state, key)
        self.compile_s = time.perf_counter() - start
        return state if self._receding else self._make(x0, 0, state, key)

    def act(self, x: Any, t: Any, carry: Any, *, key: PRNGKeyArray) -> tuple[Float[Array, "m"], Any]:
        """The first action of a new plan, or the feedback of the plan for the whole episode."""
        x, step = jnp.asarray(x), 0
        if self._receding:
            carry = self._make(x, t, carry, key)
        else:
            step = min(int(t), len(self.plans[0].policy.f) - 1)
        return _act(self.plans[-1], x, np.int32(step)), carry

    def _make(self, x: Float[Array, "n"], t: Any, state: Any, key: PRNGKeyArray) -> Any:
        """Make one plan; returns the warm start for the next."""
        start = time.perf_counter()
        search = self._plan if self._timed is None else self._timed.plan
        plan, state = jax.block_until_ready(search(x, t, state, key=key))
        self.seconds.append(time.perf_counter() - start)
        self.plans.append(plan)
        return state


def _compiled(planner: Planner, problem: Problem, x0: Any, state: Any, key: PRNGKeyArray) -> Callable:
    """`planner.plan` for this problem, from any time, compiled."""
    arrays, static = eqx.partition((problem, state), eqx.is_array)

    def plan(arrays: Any, t: Any, x: Any, state: Any, key: PRNGKeyArray) -> tuple[Plan, Any]:
        now = eqx.combine(arrays[0], static[0]).starting_at(t)
        return planner.plan(now, x, eqx.combine(state, static[1]), key=key)

    program = jax.jit(plan).lower(arrays, np.int32(0), x0, arrays[1], key).compile()
    return lambda x, t, state, *, key: program(arrays, np.int32(t), x, state, key)


@eqx.filter_jit
def _act(plan: Plan, x: Float[Array, "n"], step: Any) -> Float[Array, "m"]:
    return plan.act(x, step)
