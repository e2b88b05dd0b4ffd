"""Model-predictive control: plan at every step, execute the first action, keep the rest as a warm start.

`MPC` plans for a fixed number of iterations inside one compiled function; `TimedMPC` plans on the host until its time
for the step is used up.
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
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Plan, Planner, Problem, box_of
from forethought.planning.anytime import AnytimePlanner, stage


class MPC(eqx.Module):
    """A controller around any planner; its carry is the planner's state."""

    planner: Planner = eqx.field(static=True)
    problem: Problem

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """No plan yet."""
        del x0, key
        return self.planner.init(self.problem)

    def plan(self, x: Float[Array, "n"], carry: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """What the planner intends from `x` on."""
        return self.planner.plan(self.problem, x, carry, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Float[Array, "m"], Any]:
        """The first action of a new plan, within the task's limits."""
        del t
        plan, carry = self.plan(x, carry, key=key)
        return _first_action(self.problem, plan, x), carry


def _first_action(problem: Problem, plan: Plan, x: Float[Array, "n"]) -> Float[Array, "m"]:
    u = plan.policy.F[0] @ x + plan.policy.f[0]
    return jnp.clip(u, box_of(problem.task).low, box_of(problem.task).high)


@dataclass(frozen=True)
class Latency:
    """How long planning took, in s per control step."""

    steps: int
    p50: float
    p95: float
    p99: float
    longest: float

    @staticmethod
    def of(seconds: Sequence[float]) -> "Latency":
        """Of the times of single steps, at least one."""
        p50, p95, p99 = np.percentile(np.asarray(seconds, float), (50, 95, 99))
        return Latency(len(seconds), float(p50), float(p95), float(p99), float(max(seconds)))


class TimedMPC:
    """A controller around an anytime planner that answers within `budget_s`, with the best plan so far.

    Each step does at least one iteration, and another one only where it is expected to be done in time, with the
    finish; iterations beyond the planner's own `iterations` repeat its last one.  Everything is compiled, and timed
    once, before the first step.  It works on the host, for it watches the clock: it cannot be traced.
    What it did is kept: `seconds` and `iterations` of each step.
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
        whole = lambda arrays: eqx.combine(arrays, static)  # noqa: E731
        self._arrays = arrays
        self._begin = jax.jit(lambda arrays, x0, state: planner.begin(whole(arrays), x0, state))
        self._improve = jax.jit(
            lambda arrays, x0, search, i, key: planner.improve(whole(arrays), x0, search, i, key=key), static_argnums=3
        )

        def finish(arrays, x0, search):
            plan, state = planner.finish(whole(arrays), x0, search)
            return plan, _first_action(whole(arrays), plan, x0), state

        self._finish = jax.jit(finish)

    @property
    def latency(self) -> Latency:
        """The spread of planning times so far; raises `ValueError` before the first step."""
        if not self.seconds:
            raise ValueError("TimedMPC has not planned yet: there are no times.")
        return Latency.of(self.seconds)

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> Any:
        """No plan yet; on first use all functions are compiled and timed from `x0`."""
        state = self.planner.init(self.problem)
        if not self._expected:
            start = time.perf_counter()
            for _ in range(2):  # the second time, nothing is compiled
                self._rehearse(jnp.asarray(x0), state, key)
            self.compile_s = time.perf_counter() - start
        return state

    def plan(self, x: Float[Array, "n"], carry: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """The best plan from `x` on that the time allowed, and the warm start."""
        plan, _, carry = self._search(x, carry, key)
        return plan, carry

    @property
    def on_host(self) -> bool:
        """Always; see `forethought.core.OnHost`."""
        return True

    def act(self, x: Any, t: Any, carry: Any, *, key: PRNGKeyArray) -> tuple[Float[Array, "m"], Any]:
        """The first action of a new plan, within the task's limits."""
        del t
        _, u, carry = self._search(jnp.asarray(x), carry, key)
        return u, carry

    def _search(self, x: Float[Array, "n"], state: Any, key: PRNGKeyArray) -> tuple[Plan, Float[Array, "m"], Any]:
        start = time.perf_counter()
        search = self._begin(self._arrays, x, state)
        count = 0
        while count == 0 or self._fits(time.perf_counter() - start, count):
            search = self._iterate(x, search, count, jr.fold_in(key, count))
            count += 1
        plan, u, state = self._timed("finish", self._finish, self._arrays, x, search)
        self.seconds.append(time.perf_counter() - start)
        self.iterations.append(count)
        return plan, u, state

    def _iterate(self, x: Float[Array, "n"], search: Any, count: int, key: PRNGKeyArray) -> Any:
        i = stage(self.planner, min(count, self.planner.iterations - 1))
        return self._timed(i, self._improve, self._arrays, x, search, i, key)

    def _fits(self, elapsed: float, count: int) -> bool:
        """Whether one more iteration, and the finish, are expected to be done in time."""
        i = stage(self.planner, min(count, self.planner.iterations - 1))
        return elapsed + self._expected[i] + self._expected["finish"] <= self.budget_s

    def _timed(self, name: int | str, function: Any, *arguments: Any) -> Any:
        """Call, wait, and remember how long it took: at once where longer than expected, slowly where shorter."""
        start = time.perf_counter()
        answer = jax.block_until_ready(function(*arguments))
        took, expected = time.perf_counter() - start, self._expected.get(name, 0.0)
        self._expected[name] = max(took, 0.9 * expected + 0.1 * took)
        return answer

    def _rehearse(self, x: Float[Array, "n"], state: Any, key: PRNGKeyArray) -> None:
        self._expected.clear()
        search = self._begin(self._arrays, x, state)
        for count in range(self.planner.iterations):
            search = self._iterate(x, search, count, key)
        self._timed("finish", self._finish, self._arrays, x, search)
