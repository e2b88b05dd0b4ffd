"""When a step is charged, when an episode ends, and when the final cost counts, for the whole library.

Symbols: xs [T+1, n] states, us [T, m] actions, times [T] step indices; K is the number of steps in the episode:
K = t + 1 for the first t with `terminal(x_{t+1})`, else K = T.
    cost of a trajectory = sum_{t < K} c(x_t, u_t, x_{t+1}, t) + [no state is terminal] c_T(x_T)
The step that ends the episode is charged in full; nothing is charged after it; the final cost is charged only if the
episode reached no terminal state.  The initial state is assumed not to be terminal.  See also docs/notation.md.
"""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from forethought.core.protocols import Task


@runtime_checkable
class HasStepCost(Protocol):
    """Capability of a task whose step cost may depend on the next state (a learned or simulated reward)."""

    def step_cost(
        self, x: Float[Array, "n"], u: Float[Array, "m"], x_next: Float[Array, "n"], t: Int[Array, ""]
    ) -> Float[Array, ""]:
        """The cost of the step from `x` to `x_next` under `u`."""
        ...


def step_cost(
    task: Task, x: Float[Array, "n"], u: Shaped[Array, "*m"], x_next: Float[Array, "n"], t: Int[Array, ""]
) -> Float[Array, ""]:
    """The cost of the step from `x` to `x_next`: the task's `step_cost` if it has one, else its `cost(x, u, t)`."""
    if isinstance(task, HasStepCost):
        return task.step_cost(x, u, x_next, t)
    return task.cost(x, u, t)


def alive(task: Task, xs: Float[Array, "T1 n"]) -> Bool[Array, "T1"]:
    """Whether the episode still runs in each state: False from the first terminal state on; True in the first state."""
    over = jnp.cumsum(jax.vmap(task.terminal)(xs[1:])) > 0
    return jnp.concatenate([jnp.ones(1, bool), ~over])


def trajectory_costs(
    task: Task, xs: Float[Array, "T1 n"], us: Shaped[Array, "T *m"], times: Int[Array, "T"]
) -> Float[Array, "T+1"]:
    """The cost of each step, zero after the step that ends the episode; the last entry is the final cost.

    Args:
        task: the task.
        xs: states, T1 = T + 1.
        us: actions.
        times: step index of each action.
    """
    runs = alive(task, xs)
    steps = jax.vmap(lambda x, u, x_next, t: step_cost(task, x, u, x_next, t))(xs[:-1], us, xs[1:], times)
    costs = jnp.concatenate([steps, task.final_cost(xs[-1])[None]]).astype(xs.dtype)
    return jnp.where(runs, costs, 0)
