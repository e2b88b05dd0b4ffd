"""Where a local search starts: action sequences found by a sampling search whose horizon grows.

A gradient does not see past hills of the cost, and where a cost saturates it sees nothing at all.  Random sequences
over a short horizon do find the quick ways to the goal, since few actions decide them; the rest is found by extending
the horizon.  So each of several independent searches keeps one sequence, and in each round
    1. proposes variants of it: from a random step on, mixed with new random actions, each held for a while
    2. keeps the cheapest over the first h steps, the sequence itself included
and h grows from round to round.  The searches begin with different h, from a fifth to three quarters of the whole
horizon, and end with all of it.  Short ones find direct ways, long ones those that must first build up energy.
Measured on the cart-pole swing-up: six of six such searches led iLQR to costs of 7.0 to 7.9; receding-horizon control
with iCEM as the guide, and a sampling search over the whole horizon at once, led mostly to costs of 11 to 12.5.
"""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Problem, Task, alive, box_of
from forethought.planning.rollout import follow, stage_costs

SHORTEST, LONGEST = 0.2, 0.75  # initial horizons, as shares of the whole
SATURATION = 2.0  # random actions are uniform in this multiple of the range, then clipped: half of them are extreme
LEAST_SHARE = 1 / 30  # smallest share of random actions in a variant


def limits(task: Task, dtype) -> tuple[Float[Array, "1 m"], Float[Array, "1 m"]]:
    """The task's action limits, broadcastable over time."""
    return jnp.asarray(box_of(task).low, dtype)[None], jnp.asarray(box_of(task).high, dtype)[None]


def has_limits(task: Task) -> bool:
    """Whether any action may have a limit; known while tracing, so that no code for limits is compiled without them."""
    try:
        with jax.ensure_compile_time_eval():
            return bool(
                np.isfinite(np.asarray(box_of(task).low)).any() or np.isfinite(np.asarray(box_of(task).high)).any()
            )
    except jax.errors.TracerArrayConversionError:  # the limits are arguments of the compiled function
        return True


def action_scale(task: Task) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """The middle of each action's range and half its width; 0 and 1 for an action without limits."""
    half = 0.5 * (box_of(task).high - box_of(task).low)
    limited = jnp.isfinite(half)
    middle = jnp.where(limited, 0.5 * (box_of(task).low + box_of(task).high), 0)
    return jnp.where(limited, middle, 0), jnp.where(limited, half, 1)


def sampled_guesses(
    problem: Problem,
    x0: Float[Array, "n"],
    us: Float[Array, "T m"],
    *,
    starts: int,
    samples: int,
    rounds: int,
    key: PRNGKeyArray,
) -> tuple[Float[Array, "starts T m"], Float[Array, "starts T+1 n"]]:
    """Actions and states of `starts` trajectories from `x0`; the first one is `us`, unchanged.

    Args:
        problem: what is optimized.
        x0: initial state.
        us: the warm start, one of the candidates of every search.
        starts: independent searches.
        samples: candidates of each search in a round.
        rounds: of each search.
        key: of everything random.
    """
    T = us.shape[0]
    shares = np.geomspace(SHORTEST, LONGEST, max(starts - 1, 1))
    first = jnp.asarray(np.concatenate([[1.0], shares])[:starts] * T, us.dtype)
    growth = jnp.asarray(np.clip((np.arange(rounds) - 1) / max(rounds - 2, 1), 0, 1), us.dtype)
    row = jnp.arange(starts)
    fixed = (row == 0)[:, None] | (jnp.arange(samples) == 0)[None]  # the warm start, and what each search has

    def one_round(kept, inputs):
        us, _ = kept
        key, grown, is_first = inputs
        steps = jnp.ceil(first + (T - first) * grown).astype(int)
        variants = _variants(problem.task, us, steps, is_first, samples, key=key)  # 1
        variants = jnp.where(fixed[:, :, None, None], us[:, None], variants)
        evaluate = jax.vmap(jax.vmap(lambda us, steps: _evaluated(problem, x0, us, steps), (0, None)))
        costs, xs = evaluate(variants, steps)
        best = jnp.argmin(costs, axis=1)  # 2
        return (variants[row, best], xs[row, best]), None

    us = jnp.broadcast_to(us, (starts, *us.shape))
    kept = us, jnp.zeros((starts, T + 1, x0.shape[0]), x0.dtype)
    keys = jr.split(key, rounds)
    return jax.lax.scan(one_round, kept, (keys, growth, jnp.arange(rounds) == 0))[0]


def _variants(
    task: Task,
    us: Float[Array, "starts T m"],
    steps: Int[Array, "starts"],
    fresh: Bool[Array, ""],
    samples: int,
    *,
    key: PRNGKeyArray,
) -> Float[Array, "starts samples T m"]:
    """Each sequence, from a random step before `steps` on, mixed with random actions; wholly random where `fresh`."""
    starts, T, m = us.shape
    draws = jr.uniform(key, (starts, samples, 4 + T * m), us.dtype)
    hold, phase, since, mix = jnp.moveaxis(draws[:, :, :4], 2, 0)[..., None]
    hold = (T / 2) ** hold  # steps
    values = jnp.clip(SATURATION * (2 * draws[:, :, 4:].reshape(starts, samples, T, m) - 1), -1, 1)
    t = jnp.arange(T, dtype=us.dtype)[None, None]
    segment = (t / hold + phase).astype(int)
    values = jnp.take_along_axis(values, segment[..., None], axis=2)
    middle, scale = (a.astype(us.dtype)[None, None, None] for a in action_scale(task))
    share = jnp.where(fresh, 1, LEAST_SHARE ** (1 - mix))
    begins = jnp.where(fresh, 0, jnp.floor(steps.astype(us.dtype)[:, None, None] * (1 - since**2)))
    share = jnp.where(t >= begins, share, 0)[..., None]
    low, high = (limit[None, None] for limit in limits(task, us.dtype))
    return jnp.clip((1 - share) * us[:, None] + share * (middle + scale * values), low, high)


def _evaluated(
    problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"], steps: Int[Array, ""]
) -> tuple[Float[Array, ""], Float[Array, "T+1 n"]]:
    """What the first `steps` steps cost, infinity where that is not finite; and all states."""
    xs, us = follow(problem, x0, lambda _, i: us[i], us.shape[0])
    each = jnp.where(jnp.arange(us.shape[0]) < steps, stage_costs(problem, xs, us)[:-1], 0)
    final = jnp.where(alive(problem.task, xs)[steps], problem.task.final_cost(xs[steps]), 0)
    cost = jnp.sum(each) + final
    return jnp.where(jnp.isfinite(cost), cost, jnp.inf), xs


def cheapest(costs: Float[Array, "S"], count: int) -> Int[Array, "count"]:
    """Indices of the lowest costs, the lowest first; those that are not finite come last."""
    return jax.lax.top_k(-jnp.where(jnp.isfinite(costs), costs, jnp.inf), count)[1]
