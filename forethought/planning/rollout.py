"""Trajectories of a problem: `rollout` samples one under a controller, `follow` takes the means of the dynamics.

Symbols: xs [T+1, n] states, us [T, m] actions, t the step index, which begins at `problem.t0`.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Controller, Problem, Trajectory, alive, trajectory_costs


def rollout(
    problem: Problem,
    controller: Controller,
    x0: Float[Array, "n"],
    *,
    steps: int | None = None,
    redraw: bool = False,
    key: PRNGKeyArray,
) -> Trajectory:
    """One sampled trajectory of `controller` from `x0`, in one compiled loop.

    The trajectory continues after a terminal state; from there on `alive` is False and costs are zero.  Use `jax.vmap`
    for batches.

    Args:
        problem: the system, known or learned, and the task.
        controller: the controller; it observes the states, and its actions are clipped to the action space.
        x0: the initial state.
        steps: T; by default the task's horizon.
        redraw: draw one function of the dynamics' posterior at each step (TS1) instead of one for all (TS-infinity).
        key: random key for functions, noise and the controller.
    """
    T = problem.task.horizon if steps is None else steps
    draw_key, init_key, step_key = jr.split(key, 3)
    drawn = None if redraw else problem.dynamics.draw(key=draw_key)

    def act(x: Array, t: Array, memory: Any, key: PRNGKeyArray) -> tuple[Array, Any]:
        wish, memory = controller.act(x, t, memory, key=key)
        return problem.task.action_space.clip(wish), memory

    def move(x: Array, u: Array, t: Array, key: PRNGKeyArray) -> Array:
        function_key, noise_key = jr.split(key)
        dynamics = problem.dynamics.draw(key=function_key) if drawn is None else drawn
        return dynamics(x, u, t).sample(key=noise_key)

    memory = controller.init(x0, key=init_key)
    xs, us = _states(act, move, x0, memory, problem.times(T), jr.split(step_key, T))
    runs = alive(problem.task, xs)
    return Trajectory(xs, us, trajectory_costs(problem.task, xs, us, problem.times(T)), runs)


def follow(
    problem: Problem,
    x0: Float[Array, "n"],
    act: Callable[[Float[Array, "n"], Int[Array, ""]], Shaped[Array, "*m"]],
    T: int,
) -> tuple[Float[Array, "T1 n"], Shaped[Array, "T *m"]]:
    """States [T+1] and actions [T] of the policy `act(x, i)`, where `i` counts the steps of the plan from 0."""
    return _states(
        lambda x, _t, i, _key: (act(x, i), i + 1), _mean_step(problem), x0, jnp.zeros((), int), problem.times(T), None
    )


def foresee(
    problem: Problem,
    act: Callable[[Float[Array, "n"], Int[Array, ""], Any], tuple[Shaped[Array, "*m"], Any]],
    x0: Float[Array, "n"],
    memory: Any,
    T: int,
) -> Shaped[Array, "T *m"]:
    """The actions of `u, memory = act(x, t, memory)` along the means of the dynamics, within the limits."""

    def clipped(x: Array, t: Array, memory: Any, _: None) -> tuple[Array, Any]:
        u, memory = act(x, t, memory)
        return problem.task.action_space.clip(u), memory

    return _states(clipped, _mean_step(problem), x0, memory, problem.times(T), None)[1]


def _mean_step(problem: Problem) -> Callable:
    """The next state is the mean of the dynamics; for `_states`."""
    return lambda x, u, t, _key: problem.dynamics(x, u, t).mean


def _states(
    act: Callable, move: Callable, x0: Float[Array, "n"], memory: Any, times: Int[Array, "T"], keys: Any
) -> tuple[Float[Array, "T1 n"], Shaped[Array, "T *m"]]:
    """States and actions of `u, memory = act(x, t, memory, key)` and `x' = move(x, u, t, key)`; one key per step."""
    arrays, static = eqx.partition(memory, eqx.is_array)

    def step(carry: Any, inputs: Any) -> Any:
        (x, arrays), (t, key) = carry, inputs
        act_key, move_key = (None, None) if key is None else jr.split(key)
        u, memory = act(x, t, eqx.combine(arrays, static), act_key)
        return (move(x, u, t, move_key), eqx.filter(memory, eqx.is_array)), (x, u)

    (last, _), (xs, us) = jax.lax.scan(step, (x0, arrays), (times, keys))
    return jnp.concatenate([xs, last[None]]), us


def stage_costs(problem: Problem, xs: Float[Array, "T1 n"], us: Shaped[Array, "T *m"]) -> Float[Array, "T+1"]:
    """The cost of every step of a plan, followed by the final cost; see `forethought.core.timing`."""
    return trajectory_costs(problem.task, xs, us, problem.times(us.shape[0]))
