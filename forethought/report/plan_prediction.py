"""Plan against reality: what a plan promised at some step of an episode, beside what then happened.

The controller plans again at every step, so reality follows other actions than this one plan's: a gap tells of the
model and of replanning together.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Planner, Problem, Task, Transition, box_of, step_cost
from forethought.core.draws import draw_many
from forethought.dynamics.space import StateSpace
from forethought.report.diagnostics import advance, reward_is_learned, shareable


class Foresight(eqx.Module):
    """A plan made at step `start`, with what the model expected of it: 5th, 50th and 95th percentile of particles.

    `reward` is cumulative from `start`, [0] = 0; where the task is over it stays.
    """

    start: int
    us: Float[np.ndarray, "H m"]
    xs: Float[np.ndarray, "3 H+1 n"]
    reward: Float[np.ndarray, "3 H+1"]


def foresee(
    problem: Problem,
    planner: Planner,
    episode: Transition,
    *,
    start: int,
    key: PRNGKeyArray,
    particles: int = 100,
) -> Foresight:
    """Plan afresh (no warm start) from the real state at step `start`, and let the model tell what would happen."""
    particles = shareable(problem.dynamics, particles)
    x0 = jnp.pad(jnp.asarray(episode.x[start]), (0, int(reward_is_learned(problem))))
    us, xs, reward = _plan_and_imagine(problem, planner, x0, jnp.asarray(start), particles, key)
    return Foresight(start, np.asarray(us), np.asarray(xs), np.asarray(reward))


def real_reward(problem: Problem, episode: Transition) -> Float[np.ndarray, "T"]:
    """What a `Foresight` predicts: the recorded reward where it is learned, else the negative of the task's cost."""
    if reward_is_learned(problem):
        return np.asarray(episode.reward)
    x, u, x_next = (jnp.asarray(part) for part in (episode.x, episode.u, episode.x_next))
    charge = lambda x, u, x_next, t: step_cost(problem.task, x, u, x_next, t)  # noqa: E731
    return -np.asarray(jax.vmap(charge)(x, u, x_next, jnp.arange(len(episode))))


def share_at_limits(task: Task, us: Float[np.ndarray, "*b m"]) -> float:
    """Share of actions (each coordinate counted) within 1 % of the range of a limit."""
    low, high = np.asarray(box_of(task).low), np.asarray(box_of(task).high)
    near = 0.01 * (high - low)
    return float(np.mean((us <= low + near) | (us >= high - near)))


@eqx.filter_jit
def _plan_and_imagine(
    problem: Problem, planner: Planner, x0: Float[Array, "n"], start: Int[Array, ""], particles: int, key: PRNGKeyArray
) -> tuple[Float[Array, "H m"], Float[Array, "3 H+1 n"], Float[Array, "3 H+1"]]:
    """The planned actions, and percentiles over particles of states and cumulative reward under them."""
    plan_key, draw_key, roll_key = jr.split(key, 3)
    plan, _ = planner.plan(problem, x0, planner.init(problem), key=plan_key)
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
    steps = len(plan.us)
    inputs = (plan.us, start + jnp.arange(steps), jr.split(roll_key, steps))
    _, (clouds, totals) = jax.lax.scan(step, (cloud, total, ~is_over(cloud)), inputs)
    shares = jnp.array([0.05, 0.5, 0.95], x0.dtype)
    xs = jnp.quantile(jnp.concatenate([cloud[None], clouds]).reshape(steps + 1, particles, -1), shares, axis=1)
    rewards = jnp.quantile(jnp.concatenate([total[None], totals]).reshape(steps + 1, particles), shares, axis=1)
    return plan.us, xs, rewards


def unwrapped(space: StateSpace, episode: Transition) -> Float[np.ndarray, "S n"]:
    """The T + 1 states of an episode, angles continued past half a turn instead of jumping."""
    xs = np.concatenate([episode.x, episode.x_next[-1:]])
    for i in space.angles:
        xs[:, i] = np.unwrap(xs[:, i])
    return xs
