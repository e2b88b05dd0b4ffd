"""Plan on a known system, act, and measure the result: no learning.

A planner whose horizon covers the episode plans once, before it, and its feedback policy is followed; any other plans
anew at every step (MPC).  Times are those of compiled functions; compilation is measured separately.
"""

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

from forethought.core import Plan, Planner, Problem, Result, Transition, UsageError, box_of
from forethought.envs.env import Env
from forethought.planning.anytime import AnytimePlanner
from forethought.planning.mpc import Latency, TimedMPC
from forethought.runs import metrics


@dataclass(frozen=True)
class Planned:
    """The result of one planner in one episode."""

    planner: str
    receding: bool  # whether it replanned at every step
    cost: float  # of the executed episode, final cost included
    planned_cost: float  # of the first plan, over its own horizon
    converged: bool  # of all plans
    iterations: float | None  # mean per plan; None if the planner does not report them
    wall_s: float  # planning time of the episode without compilation, s
    compile_s: float
    latency: Latency  # of a plan
    success: bool | None  # by the task's success test; None if it has none
    length: int  # steps
    plan: Plan  # the first
    episode: Transition

    def as_json(self) -> dict[str, Any]:
        """The numbers, for machines."""
        names = "planner receding cost planned_cost converged iterations wall_s compile_s success length"
        return metrics.finite({name: getattr(self, name) for name in names.split()} | {"latency_s": vars(self.latency)})


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
    """One episode of `env` under `planner`, which knows it as `problem`.

    Args:
        env: what is acted in; its observations are the states of `problem`.
        problem: the exact model.
        planner: settings.
        name: what the planner is called in tables.
        receding: whether to plan at every step; None decides by the planner's horizon.
        budget_s: s for each plan, at every step; the planner must be an anytime one.
        seed: of the initial state and of everything random in the planner.
        on_step: told the steps done and the return so far.
    """
    horizon = getattr(planner, "horizon", None)
    if receding is None:
        receding = budget_s is not None or (horizon is not None and horizon < problem.task.horizon)
    watch = _Watch(planner, problem, receding, budget_s)
    episode = env.run(watch, key=jr.key(seed), on_step=on_step)
    first = watch.plans[0]
    return Planned(
        planner=name,
        receding=receding,
        cost=_cost(problem, episode),
        planned_cost=float(first.cost),
        converged=all(int(plan.result) == Result.converged for plan in watch.plans),
        iterations=watch.iterations,
        wall_s=float(np.sum(watch.seconds)),
        compile_s=watch.compile_s,
        latency=Latency.of(watch.seconds),
        success=metrics.is_solved(env, episode),
        length=len(episode),
        plan=first,
        episode=episode,
    )


def _cost(problem: Problem, episode: Transition) -> float:
    """What the episode cost, with the final cost where it reached its horizon."""
    end = 0.0 if episode.terminated[-1] else float(problem.task.final_cost(jnp.asarray(episode.x_next[-1])))
    return end - float(np.sum(episode.reward))


class _Watch:
    """A controller on the host that keeps its plans and the time they took."""

    def __init__(self, planner: Planner, problem: Problem, receding: bool, budget_s: float | None):
        self._planner, self._problem, self._receding = planner, problem, receding
        if budget_s is not None and not isinstance(planner, AnytimePlanner):
            raise UsageError(f"{type(planner).__name__} cannot be stopped early: it takes no time budget.")
        self._timed = None if budget_s is None else TimedMPC(planner, problem, budget_s)  # type: ignore[arg-type]
        self.plans: list[Plan] = []
        self.seconds: list[float] = []
        self.compile_s = 0.0

    @property
    def on_host(self) -> bool:
        """It watches the clock."""
        return True

    @property
    def iterations(self) -> float | None:
        """Of a plan, on average."""
        if self._timed is not None:
            return float(np.mean(self._timed.iterations))
        told: list[Any] = [plan.iterations for plan in self.plans if plan.iterations is not None]
        if not told and hasattr(self._planner, "iterations"):
            told = [self._planner.iterations]
        return float(np.mean(told)) if told else None

    def init(self, x0: Any, *, key: PRNGKeyArray) -> Any:
        """Compile; and plan, where it is done once."""
        x0 = jnp.asarray(x0)
        if self._timed is not None:
            state = self._timed.init(x0, key=key)
            self.compile_s = self._timed.compile_s
            return state
        state = self._planner.init(self._problem)
        start = time.perf_counter()
        self._plan = _compiled(self._planner, self._problem, x0, state, key)
        self.compile_s = time.perf_counter() - start
        return state if self._receding else self._again(x0, state, key)

    def act(self, x: Any, t: Any, carry: Any, *, key: PRNGKeyArray) -> tuple[Float[Array, "m"], Any]:
        """The first action of a new plan, or the feedback of the one there is."""
        x, step = jnp.asarray(x), 0
        if self._receding:
            carry = self._again(x, carry, key)
        else:
            step = min(int(t), len(self.plans[0].policy.f) - 1)
        policy, task = self.plans[-1].policy, self._problem.task
        return jnp.clip(policy.F[step] @ x + policy.f[step], box_of(task).low, box_of(task).high), carry

    def _again(self, x: Float[Array, "n"], state: Any, key: PRNGKeyArray) -> Any:
        """One more plan; returns the warm start for the next."""
        start = time.perf_counter()
        search = self._plan if self._timed is None else self._timed.plan
        plan, state = jax.block_until_ready(search(x, state, key=key))
        self.seconds.append(time.perf_counter() - start)
        self.plans.append(plan)
        return state


def _compiled(planner: Planner, problem: Problem, x0: Any, state: Any, key: PRNGKeyArray) -> Callable:
    """`planner.plan` for this problem, compiled."""
    arrays, static = eqx.partition((problem, state), eqx.is_array)

    def plan(arrays: Any, x: Any, state: Any, key: PRNGKeyArray) -> tuple[Plan, Any]:
        return planner.plan(eqx.combine(arrays[0], static[0]), x, eqx.combine(state, static[1]), key=key)

    program = jax.jit(plan).lower(arrays, x0, arrays[1], key).compile()
    return lambda x, state, *, key: program(arrays, x, state, key)
