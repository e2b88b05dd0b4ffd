"""Plan against reality: what the model predicts under a plan made at some step of an episode.

The controller replans at every step, so the episode follows other actions than those of one plan: a difference comes
from model error and from replanning together.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Planner, Problem, Task, Transition, step_cost
from forethought.core.data import AnyArray
from forethought.core.draws import draw_many
from forethought.dynamics.space import StateSpace
from forethought.report.diagnostics import advance, reward_is_learned, shareable


class PlanPrediction(eqx.Module):
    """A plan made at step `start`, and the model's prediction under it: 5th, 50th and 95th percentile of particles.

    `reward` is cumulative from `start`, [0] = 0; it stays constant after a terminal state.
    """

    start: int
    us: Shaped[np.ndarray, "H *m"]
    xs: Float[np.ndarray, "3 H+1 n"]
    reward: Float[np.ndarray, "3 H+1"]


def predict_plan(
    problem: Problem,
    planner: Planner,
    episode: Transition,
    *,
    start: int,
    key: PRNGKeyArray,
    particles: int = 100,
) -> PlanPrediction:
    """A new plan (without warm start) from the observed state at step `start`, and the model's prediction under it."""
    particles = shareable(problem.dynamics, particles)
    x0 = jnp.pad(jnp.asarray(episode.x[start]), (0, int(reward_is_learned(problem))))
    us, xs, reward = _plan_and_predict(problem, planner, x0, jnp.asarray(start), particles, key)
    return PlanPrediction(start, np.asarray(us), np.asarray(xs), np.asarray(reward))


def predict_actions(
    problem: Problem, episode: Transition, *, start: int, steps: int, key: PRNGKeyArray, particles: int = 100
) -> Float[np.ndarray, "3 K"]:
    """The predicted cumulative reward of executed actions, as `PlanPrediction.reward`; K = steps + 1.

    After the end of the episode its last action goes on, so that all calls with the same `steps` share a compilation.
    """
    draw_key, roll_key = jr.split(key)
    particles = shareable(problem.dynamics, particles)
    x0 = jnp.pad(jnp.asarray(episode.x[start]), (0, int(reward_is_learned(problem))))
    places = np.minimum(start + np.arange(steps), len(episode) - 1)
    us = jnp.asarray(np.asarray(episode.u)[places])
    return np.asarray(_predict_actions(problem, x0, us, jnp.asarray(start), particles, draw_key, roll_key))


def real_reward(problem: Problem, episode: Transition) -> Float[np.ndarray, "T"]:
    """What `PlanPrediction.reward` predicts: the recorded reward if it is learned, else minus the task's cost."""
    if reward_is_learned(problem):
        return np.asarray(episode.reward)
    x, u, x_next = (jnp.asarray(part) for part in (episode.x, episode.u, episode.x_next))
    charge = lambda x, u, x_next, t: step_cost(problem.task, x, u, x_next, t)  # noqa: E731
    return -np.asarray(jax.vmap(charge)(x, u, x_next, jnp.arange(len(episode))))


def share_at_limits(task: Any, us: np.ndarray) -> float | None:
    """Share of actions [*b, m] (each coordinate counted) within 1% of the range of a limit; None for discrete ones."""
    if not isinstance(task.action_space, Box):
        return None
    low, high = np.asarray(task.action_space.low), np.asarray(task.action_space.high)
    near = 0.01 * (high - low)
    return float(np.mean((us <= low + near) | (us >= high - near)))


@eqx.filter_jit
def _plan_and_predict(
    problem: Problem, planner: Planner, x0: Float[Array, "n"], start: Int[Array, ""], particles: int, key: PRNGKeyArray
) -> tuple[Shaped[Array, "H *m"], Float[Array, "3 H+1 n"], Float[Array, "3 H+1"]]:
    """The planned actions, and percentiles over particles of states and cumulative reward under them."""
    plan_key, draw_key, roll_key = jr.split(key, 3)
    plan, _ = planner.plan(problem.starting_at(start), x0, planner.init(problem), key=plan_key)
    return plan.us, *_predict(problem, x0, plan.us, start, particles, draw_key, roll_key)


_predict_actions = eqx.filter_jit(lambda *inputs: _predict(*inputs)[1])


def _predict(
    problem: Problem,
    x0: Float[Array, "n"],
    us: Shaped[Array, "H *m"],
    start: Int[Array, ""],
    particles: int,
    draw_key: PRNGKeyArray,
    roll_key: PRNGKeyArray,
) -> tuple[Float[Array, "3 H+1 n"], Float[Array, "3 H+1"]]:
    """Percentiles over particles of states and cumulative reward under given actions."""
    functions, copies = draw_many(problem.dynamics, particles, key=draw_key)
    is_over = jnp.vectorize(problem.task.terminal, signature="(n)->()")

    def gain(x: Array, x_next: Array, u: Array, t: Array) -> Array:
        """The reward of each particle's step."""
        charge = lambda x, x_next: step_cost(problem.task, x, u, x_next, t)  # noqa: E731
        return -jnp.vectorize(charge, signature="(n),(n)->()")(x, x_next)

    def step(carry: tuple[Array, Array, Array], inputs: tuple[Array, Array, PRNGKeyArray]):
        cloud, total, alive = carry
        u, t, step_key = inputs
        after = advance(functions, cloud, u[None], t[None], key=step_key)
        total = total + jnp.where(alive, gain(cloud, after, u, t), 0)
        return (after, total, alive & ~is_over(after)), (after, total)

    cloud = jnp.broadcast_to(x0, (particles // copies, copies, 1, *x0.shape))
    total = jnp.zeros(cloud.shape[:-1], x0.dtype)
    steps = len(us)
    inputs = (us, start + jnp.arange(steps), jr.split(roll_key, steps))
    _, (clouds, totals) = jax.lax.scan(step, (cloud, total, ~is_over(cloud)), inputs)
    shares = jnp.array([0.05, 0.5, 0.95], x0.dtype)
    xs = jnp.quantile(jnp.concatenate([cloud[None], clouds]).reshape(steps + 1, particles, -1), shares, axis=1)
    rewards = jnp.quantile(jnp.concatenate([total[None], totals]).reshape(steps + 1, particles), shares, axis=1)
    return xs, rewards


def names_of_actions(task: Task, episode: Transition) -> list[str]:
    """One name for each coordinate of the recorded actions."""
    names = getattr(task.action_space, "names", ())
    return list(names) or [f"action {j}" for j in range(by_coordinate(episode.u).shape[1])]


def by_coordinate(us: Shaped[AnyArray, "T *m"]) -> Shaped[AnyArray, "T _"]:
    """Actions with an axis of coordinates; a discrete action has one."""
    return us if us.ndim > 1 else us[:, None]


def unwrapped(space: StateSpace, episode: Transition) -> Float[np.ndarray, "T1 n"]:
    """The T1 = T + 1 states of an episode, angles unwrapped: they do not jump by 2 pi."""
    xs = np.concatenate([episode.x, episode.x_next[-1:]])
    for i in space.angles:
        xs[:, i] = np.unwrap(xs[:, i])
    return xs
