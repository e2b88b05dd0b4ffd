"""Where a local search starts: smooth random action sequences, judged by what they cost."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Planner, Problem, Task, box_of


def limits(task: Task, dtype) -> tuple[Float[Array, "1 m"], Float[Array, "1 m"]]:
    """The task's action limits, broadcastable over time."""
    return jnp.asarray(box_of(task).low, dtype)[None], jnp.asarray(box_of(task).high, dtype)[None]


def has_limits(task: Task) -> bool:
    """Whether any action may have a limit; known while tracing, so that what has none is compiled without."""
    try:
        with jax.ensure_compile_time_eval():
            return bool(
                np.isfinite(np.asarray(box_of(task).low)).any() or np.isfinite(np.asarray(box_of(task).high)).any()
            )
    except jax.errors.TracerArrayConversionError:  # the limits are arguments of the compiled function
        return True


def action_scale(task: Task) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """The middle of each action's range and half its width; 0 and 1 where it has no limits."""
    half = 0.5 * (box_of(task).high - box_of(task).low)
    limited = jnp.isfinite(half)
    middle = jnp.where(limited, 0.5 * (box_of(task).low + box_of(task).high), 0)
    return jnp.where(limited, middle, 0), jnp.where(limited, half, 1)


def smooth_actions(
    count: int,
    horizon: int,
    middle: Float[Array, "m"],
    scale: Float[Array, "m"],
    *,
    knot: int,
    key: PRNGKeyArray,
) -> Float[Array, "S T m"]:
    """`count` sequences, linear between normal knots `knot` steps apart, of mean `middle` and std `scale`."""
    knots = -(-horizon // knot) + 1
    values = jr.normal(key, (count, knots, middle.shape[0]), middle.dtype)
    at = jnp.arange(horizon) / knot
    before = at.astype(int)
    share = (at - before).astype(middle.dtype)[None, :, None]
    between = (1 - share) * values[:, before] + share * values[:, before + 1]
    return middle[None, None] + scale[None, None] * between


def receding_actions(
    guide: Planner, problem: Problem, x0: Float[Array, "n"], T: int, *, key: PRNGKeyArray
) -> Float[Array, "T m"]:
    """What receding-horizon control with the planner `guide` does from `x0` on, by the mean of the dynamics.

    A sampling planner looks over hills that a gradient does not see: on the acrobot, five of six such starts led to
    the same good optimum, one random start in thirty to a better one, the others to worse.
    """
    low, high = limits(problem.task, x0.dtype)

    def step(carry, inputs):
        x, state = carry
        t, key = inputs
        plan, state = guide.plan(problem, x, state, key=key)
        u = jnp.clip(plan.policy.f[0] + plan.policy.F[0] @ x, low[0], high[0])
        return (problem.dynamics(x, u, t).mean, state), u

    state = jax.tree.map(lambda a: a.astype(x0.dtype), guide.init(problem))
    return jax.lax.scan(step, (x0, state), (jnp.arange(T), jr.split(key, T)))[1]


def cheapest(costs: Float[Array, "S"], count: int) -> Array:
    """Indices [count] of the lowest costs, the lowest first; those that are not finite come last."""
    return jax.lax.top_k(-jnp.where(jnp.isfinite(costs), costs, jnp.inf), count)[1]
