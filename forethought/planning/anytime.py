"""The anytime form of an iterative planner: begin, improve as often as time allows, finish.

    search_0 = begin(state)     search_{i+1} = improve(search_i)     plan, state' = finish(search_k)
`state` is the warm start, passed from one control step to the next; `search` belongs to one step, is one pytree of
arrays whose structure does not change, and always holds the best plan so far.  So the same planner runs inside one
compiled function (`run_search`) or with a time limit on the host (`forethought.planning.mpc.TimedMPC`).
"""

from functools import partial
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Plan, Problem
from forethought.planning.noise import quick_split


@runtime_checkable
class AnytimePlanner(Protocol):
    """A planner (frozen settings) that can be stopped after any iteration."""

    @property
    def iterations(self) -> int:
        """Iterations of `plan`, which has no time limit."""
        ...

    def init(self, problem: Problem) -> Any:
        """The first warm start."""
        ...

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: Any) -> Any:
        """A search from `x0` that starts at the warm start `state`."""
        ...

    def improve(self, problem: Problem, x0: Float[Array, "n"], search: Any, i: int, *, key: PRNGKeyArray) -> Any:
        """One iteration; `i` is static, so that sizes may depend on it."""
        ...

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: Any) -> tuple[Plan, Any]:
        """The best plan so far, and the warm start of the next control step."""
        ...

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: Any, *, key: PRNGKeyArray) -> tuple[Plan, Any]:
        """All of it: `run_search`."""
        ...


@runtime_checkable
class HasStages(Protocol):
    """Capability: iterations that differ in their sizes."""

    def stage(self, i: int) -> int:
        """The first iteration with the sizes of iteration `i`: `improve` depends on `i` only through it."""
        ...


def stage(planner: AnytimePlanner, i: int) -> int:
    """The stage that iteration `i` belongs to: iterations of one stage share a compiled function; by default all do."""
    return planner.stage(i) if isinstance(planner, HasStages) else 0


def run_search(
    planner: AnytimePlanner, problem: Problem, x0: Float[Array, "n"], state: Any, *, key: PRNGKeyArray
) -> tuple[Plan, Any]:
    """Begin, improve `planner.iterations` times, finish; traceable."""
    search = planner.begin(problem, x0, state)
    keys, done = quick_split(key, planner.iterations), 0
    for i, members in groupby(range(planner.iterations), key=partial(stage, planner)):
        after = done + len(list(members))
        improve = partial(_improved, planner, problem, x0, i)
        search, _ = jax.lax.scan(improve, search, keys[done:after])
        done = after
    return planner.finish(problem, x0, search)


def _improved(planner: AnytimePlanner, problem: Problem, x0, i: int, search, key: PRNGKeyArray) -> tuple[Any, None]:
    """One iteration, as the body of a scan."""
    return planner.improve(problem, x0, search, i, key=key), None


def one_step_later(us: Shaped[Array, "T *m"]) -> Shaped[Array, "T *m"]:
    """The actions for the next step's horizon: without the first one, and with the last one repeated."""
    return jnp.concatenate([us[1:], us[-1:]])
