"""Checks of cost and termination functions on recorded transitions."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from forethought.core import Transition, UsageError
from forethought.envs.checks.findings import Finding, Level
from forethought.tasks.function_task import CostFunction, TerminationFunction, require_cost, require_termination

SAME = 1e-4  # tolerance relative to the largest reward, for rounding errors in float32
OPPOSED = -0.5  # correlation
RARE = 1e-3  # share of steps that may differ, because of thresholds in float32


def check_cost(cost: CostFunction, episodes: list[Transition]) -> Iterator[Finding]:
    """Whether JAX can trace the cost, its values and gradients are finite, and it agrees with the reward."""
    try:
        require_cost(cost, episodes[0].x[0], episodes[0].u[0])
    except UsageError as error:
        yield _not_traceable("cost", error)
        return
    x, u, x_next, reward = (
        np.concatenate([getattr(e, name) for e in episodes]) for name in ("x", "u", "x_next", "reward")
    )
    values = _batched(cost, x, u).astype(float)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        detail = f"{values[wrong[0]]} at {wrong.size} of {len(values)} steps, first {_where(episodes, int(wrong[0]))}"
        yield Finding("cost", "fail", detail, "guard divisions, logarithms and roots inside the cost")
    else:
        yield _against_reward(values, _batched(cost, x_next, u).astype(float), reward, episodes)
    yield _gradients(cost, x, u, episodes)


def check_termination(termination: TerminationFunction | None, episodes: list[Transition]) -> Iterator[Finding]:
    """Whether the termination function agrees with the environment in every state."""
    ended = np.concatenate([e.terminated for e in episodes])
    yield from _end_by_the_clock(episodes)
    seen = f"{ended.sum()} of {len(episodes)} episodes terminated"
    if termination is None:
        yield Finding("termination", "ok", f"{seen}; termination will be learned, since no function is given")
        return
    try:
        require_termination(termination, episodes[0].x[0])
    except UsageError as error:
        yield _not_traceable("termination", error)
        return
    x_next = np.concatenate([e.x_next for e in episodes])
    said = _batched(termination, x_next).astype(bool)
    false_alarms, missed = np.flatnonzero(said & ~ended), np.flatnonzero(~said & ended)
    level: Level = "fail" if false_alarms.size + missed.size > max(1, RARE * len(ended)) else "warn"
    for wrong, what in (
        (false_alarms, "ends {} of {} steps after which the environment went on"),
        (missed, "misses {} of {} terminations"),
    ):
        if wrong.size:
            count = what.format(wrong.size, int((~ended).sum() if wrong is false_alarms else ended.sum()))
            state = np.array2string(x_next[wrong[0]], precision=3, threshold=8).replace("\n", "")
            remedy = f"compare it with the environment there: x = {state}"
            yield Finding("termination", level, f"{count}, first {_where(episodes, int(wrong[0]))}", remedy)
    if not false_alarms.size and not missed.size:
        yield Finding("termination", "ok", f"agrees with the environment at every step; {seen}")


def _end_by_the_clock(episodes: list[Transition]) -> Iterator[Finding]:
    """Whether all terminations come after the same number of steps, which suggests a time limit."""
    lengths = [len(e) for e in episodes if e.terminated[-1]]
    if len(lengths) >= 3 and len(set(lengths)) == 1 and lengths[0] > 1:
        detail = f"all {len(lengths)} episodes that terminated did so after exactly {lengths[0]} steps"
        remedy = "if that is a time limit, return it as truncated: a terminal state has no future, a time limit has"
        yield Finding("episode length", "warn", detail, remedy)


def _against_reward(
    cost: np.ndarray, cost_after: np.ndarray, reward: np.ndarray, episodes: list[Transition]
) -> Finding:
    difference = np.abs(cost + reward)
    tolerance = SAME * max(1.0, float(np.abs(reward).max()))
    if difference.max() <= tolerance:
        return Finding("cost", "ok", f"is the negative reward at all {len(reward)} steps")
    if np.abs(cost_after + reward).max() <= tolerance:
        remedy = "planners can use it; but the return then includes the initial state and omits the last one"
        return Finding("cost", "warn", "is the negative reward of the state after the step", remedy)
    if np.ptp(cost) == 0:
        return Finding("cost", "warn", f"always {cost[0]:.4g} under random actions", "does the cost depend on x?")
    i = int(difference.argmax())
    at_most = f"differs most {_where(episodes, i)}: cost {cost[i]:.4g}, reward {reward[i]:.4g}"
    if np.ptp(reward) == 0:
        return Finding("cost", "warn", at_most, "the reward is constant, so cost and reward cannot be compared")
    correlation = float(np.corrcoef(-cost.astype(float), reward.astype(float))[0, 1])
    detail = f"correlation of -cost with the reward {correlation:.2f}; {at_most}"
    if correlation < OPPOSED:
        return Finding("cost", "fail", detail, "check the sign: a cost is minimized")
    return Finding("cost", "warn", detail, "correct only if the cost is meant to differ from the reward")


def _gradients(cost: CostFunction, x: np.ndarray, u: np.ndarray, episodes: list[Transition]) -> Finding:
    def slopes(x: jax.Array, u: jax.Array) -> jax.Array:
        parts = jax.grad(lambda x, u: jnp.asarray(cost(x, u), x.dtype), argnums=(0, 1))(x, u)
        return jnp.concatenate(parts)

    finite = np.isfinite(_batched(slopes, x, u)).all(1)
    at_zero = np.isfinite(_batched(slopes, np.zeros_like(x[:1]), np.zeros_like(u[:1]))).all()
    if finite.all() and at_zero:
        return Finding("cost gradient", "ok", "finite everywhere")
    places = [] if at_zero else ["at x = 0, u = 0"]
    if not finite.all():
        first = _where(episodes, int(np.flatnonzero(~finite)[0]))
        places.append(f"at {(~finite).sum()} of {len(finite)} steps, first {first}")
    remedy = "matters for gradient-based planners only; keep roots and norms away from 0, as in sqrt(d2 + 1e-6)"
    return Finding("cost gradient", "warn", f"not finite {' and '.join(places)}", remedy)


def _batched(function: Callable, *arguments: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(jax.vmap(function))(*map(jnp.asarray, arguments)))


def _where(episodes: list[Transition], row: int) -> str:
    """Episode and step of a row of the concatenated episodes, counted from 1."""
    for number, episode in enumerate(episodes, start=1):
        if row < len(episode):
            return f"in episode {number} at step {row + 1}"
        row -= len(episode)
    raise IndexError(row)


def _not_traceable(name: str, error: UsageError) -> Finding:
    what, _, remedy = str(error).partition(": ")
    return Finding(name, "fail", what, remedy)
