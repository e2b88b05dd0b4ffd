"""Model-predictive control: plan at every step, execute the first action, keep the rest as a warm start.

`MPC` plans for a fixed number of iterations inside one compiled function; `TimedMPC` plans on the host until the time
for the step is used up.  Both plan from the current time: a plan made at step t uses the costs and dynamics of the
steps t, t + 1, ...
If no candidate has a finite predicted cost, planners return the warm start with `Result.not_finite`.  The controller
then follows its last valid plan, shifted by one step; before the first plan, the middle of the action range.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Plan, Planner, Problem
from forethought.planning.anytime import AnytimePlanner, stage


class MPC(eqx.Module):
    """A controller around any planner; its carry is the planner's state."""

    planner: Planner = eqx.field(static=True)
    problem: Problem

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """No plan yet."""
        del x0, key
        return self.planner.init(self.problem)

    def plan(self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """The plan from state `x` at step `t` of the episode, and the next carry."""
        return self.planner.plan(self.problem.starting_at(t), x, carry, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Any]:
        """The first action of a new plan, within the task's limits."""
        u, _, carry = self.act_with_result(x, t, carry, key=key)
        return u, carry

    def act_with_result(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Int[Array, ""], Any]:
        """As `act`, with the plan's `Result`."""
        plan, carry = self.plan(x, t, carry, key=key)
        return plan.act(x, 0), plan.result, carry


@dataclass(frozen=True)
class Latency:
    """Statistics of the planning time per control step, in s."""

    steps: int
    p50: float
    p95: float
    p99: float
    longest: float

    @staticmethod
    def of(seconds: Sequence[float]) -> "Latency":
        """The statistics of a list of planning times, which must not be empty."""
        p50, p95, p99 = np.percentile(np.asarray(seconds, float), (50, 95, 99))
        return Latency(len(seconds), float(p50), float(p95), float(p99), float(max(seconds)))


class TimedMPC:
    """A controller around an anytime planner that plans for at most `budget_s` and uses the best plan so far.

    Each step runs at least one iteration, and another one only if it and `finish` are expected to end in time.  If more
    iterations fit than the planner's `iterations`, the last kind of iteration is repeated.  All functions are compiled
    and timed once before the first step.  The controller runs on the host, where it can read the clock, and cannot be
    traced.  `seconds` and `iterations` record planning time and number of iterations of each step.
    """

    def __init__(self, planner: AnytimePlanner, problem: Problem, budget_s: float):
        """Raises `ValueError` for a budget that is not positive."""
        if not budget_s > 0:
            raise ValueError(f"TimedMPC.budget_s must be positive seconds, got {budget_s}.")
        self.planner, self.problem, self.budget_s = planner, problem, budget_s
        self.seconds: list[float] = []
        self.iterations: list[int] = []
        self.compile_s = 0.0
        self._expected: dict[int | str, float] = {}
        arrays, static = eqx.partition(problem, eqx.is_array)
        self._arrays = arrays

        def at(arrays, t) -> Problem:
            return eqx.combine(arrays, static).starting_at(t)

        def improve(arrays, t, x0, search, i, key):
            return planner.improve(at(arrays, t), x0, search, i, key=key)

        def finish(arrays, t, x0, search):
            plan, state = planner.finish(at(arrays, t), x0, search)
            return plan, plan.act(x0, 0), state

        self._begin = jax.jit(lambda arrays, t, x0, state: planner.begin(at(arrays, t), x0, state))
        self._improve = jax.jit(improve, static_argnums=4)

        self._finish = jax.jit(finish)

    @property
    def latency(self) -> Latency:
        """Statistics of the planning times so far; raises `ValueError` before the first step."""
        if not self.seconds:
            raise ValueError("TimedMPC has not planned yet: there are no planning times.")
        return Latency.of(self.seconds)

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """No plan yet; the first call compiles all functions and times them from `x0`."""
        state = self.planner.init(self.problem)
        if not self._expected:
            start = time.perf_counter()
            for _ in range(2):  # the second pass measures the time without compilation
                self._warm_up(jnp.asarray(x0), state, key)
            self.compile_s = time.perf_counter() - start
        return state

    def plan(self, x: Float[Array, "n"], t: Any, carry: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """The best plan found in time from state `x` at step `t` of the episode, and the next carry."""
        plan, _, carry = self._search(x, t, carry, key)
        return plan, carry

    @property
    def on_host(self) -> bool:
        """Always True; see `forethought.core.OnHost`."""
        return True

    def act(self, x: Any, t: Any, carry: Any, *, key: PRNGKeyArray) -> tuple[Shaped[Array, "*m"], Any]:
        """The first action of a new plan, within the task's limits."""
        _, u, carry = self._search(jnp.asarray(x), t, carry, key)
        return u, carry

    def _search(self, x: Float[Array, "n"], t: Any, state: Any, key: PRNGKeyArray) -> tuple[Plan, Any, Any]:
        start, t = time.perf_counter(), np.int32(t)
        search = self._begin(self._arrays, t, x, state)
        count = 0
        while count == 0 or self._fits(time.perf_counter() - start, count):
            search = self._iterate(x, t, search, count, jr.fold_in(key, count))
            count += 1
        plan, u, state = self._timed("finish", self._finish, self._arrays, t, x, search)
        self.seconds.append(time.perf_counter() - start)
        self.iterations.append(count)
        return plan, u, state

    def _iterate(self, x: Float[Array, "n"], t: np.int32, search: Any, count: int, key: PRNGKeyArray) -> Any:
        i = stage(self.planner, min(count, self.planner.iterations - 1))
        return self._timed(i, self._improve, self._arrays, t, x, search, i, key)

    def _fits(self, elapsed: float, count: int) -> bool:
        """Whether one more iteration and `finish` are expected to end in time."""
        i = stage(self.planner, min(count, self.planner.iterations - 1))
        return elapsed + self._expected[i] + self._expected["finish"] <= self.budget_s

    def _timed(self, name: int | str, function: Any, *arguments: Any) -> Any:
        """Call `function`, wait, and update its expected time: a longer time at once, a shorter one by a tenth."""
        start = time.perf_counter()
        answer = jax.block_until_ready(function(*arguments))
        took, expected = time.perf_counter() - start, self._expected.get(name, 0.0)
        self._expected[name] = max(took, 0.9 * expected + 0.1 * took)
        return answer

    def _warm_up(self, x: Float[Array, "n"], state: Any, key: PRNGKeyArray) -> None:
        self._expected.clear()
        t = np.int32(0)
        search = self._begin(self._arrays, t, x, state)
        for count in range(self.planner.iterations):
            search = self._iterate(x, t, search, count, key)
        self._timed("finish", self._finish, self._arrays, t, x, search)
