"""Short model rollouts that branch off real experience and fill a buffer, in one compiled loop.

Symbols: B rollouts side by side, k their length.  Each starts in a state drawn from the real experience; at each step
the policy samples an action and a member of the ensemble, chosen anew, the next state.  A rollout ends in a terminal
state, whose transition is kept.  A step whose next state is not finite, or lies further outside the range of the real
data than `bound` times the width of that range, is not kept and ends the rollout; such rollouts are counted.
Source: Janner et al. (2019), When to trust your model, algorithm 2, lines 6-8.
Differs: at each step every member continues the same number of rollouts, which are chosen at random.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.algorithms.experience import require_at_least
from forethought.core import (
    Buffer,
    Conditional,
    Dynamics,
    NumericalFailure,
    Problem,
    Transition,
    UsageError,
    over_draws,
    step_cost,
)
from forethought.core.settings import settings
from forethought.learners.model_gradient import extra_coordinates

NOTED, REFUSED = 0.01, 0.9  # shares of rollouts cut off: above the first a note, above the second a failure


@settings
class BranchedRollouts:
    """Settings of the imagined experience."""

    first_length: int = 1  # steps of a rollout at first
    last_length: int = 1  # steps of a rollout at the end; Janner et al. (2019): 15 for Hopper, 1 for HalfCheetah
    growth_start: int = 20_000  # real steps at which rollouts begin to grow; Janner et al. (2019), Hopper
    growth_end: int = 150_000  # real steps at which they have their last length; Janner et al. (2019), Hopper
    per_step: float = 400.0  # rollouts for each real step until the next fit; Janner et al. (2019)
    every: int | None = None  # updates of the learner between rollouts; none: only after each fit of the model
    batch: int = 2000  # rollouts side by side, a multiple of the ensemble's members
    capacity: int = 400_000  # newest imagined transitions that are kept; Janner et al. (2019), at length 1
    bound: float = 1.0  # distance outside the range of the data at which a rollout is cut off, in widths of that range

    def __post_init__(self):
        """Refuse settings out of range."""
        require_at_least(self, first_length=1, last_length=1, batch=1, growth_start=0, per_step=0, bound=0)
        if self.every is not None:
            require_at_least(self, every=1)
        if self.growth_end <= self.growth_start:
            raise ValueError(f"BranchedRollouts.growth_end ({self.growth_end}) must be above growth_start.")
        if self.capacity < self.batch * self.longest:
            raise ValueError(
                f"BranchedRollouts.capacity ({self.capacity}) must hold one batch of the longest rollouts, "
                f"{self.batch} x {self.longest}: raise it, or lower batch."
            )

    @property
    def longest(self) -> int:
        """The greatest length."""
        return max(self.first_length, self.last_length)

    def length(self, steps: int) -> int:
        """Steps of a rollout after `steps` real steps: linear in between, rounded down; Janner et al. (2019)."""
        share = (steps - self.growth_start) / (self.growth_end - self.growth_start)
        return math.floor(self.first_length + min(max(share, 0), 1) * (self.last_length - self.first_length))

    def batches(self, steps: int, interval: int | float) -> int:
        """Batches of rollouts for `interval` real steps; no more than the buffer holds, at least one."""
        wanted = round(self.per_step * interval / self.batch)
        return max(1, min(wanted, self.capacity // (self.batch * self.length(steps))))

    def growth_notes(self, steps: int) -> tuple[str, ...]:
        """A note where rollouts do not have their last length yet."""
        if self.length(steps) == self.last_length:
            return ()
        reached = f"{self.last_length} from {self.growth_end:,} real steps on"
        return (f"imagined rollouts have {self.length(steps)} steps now, and {reached}.",)

    def check_budget(self, env_steps: int) -> None:
        """Raise `UsageError` where rollouts cannot reach their last length within a run."""
        reached = self.length(env_steps)
        if reached != self.last_length:
            grown = reached - self.first_length
            slope = (self.last_length - self.first_length) / (self.growth_end - self.growth_start)
            end = math.ceil(self.growth_start + grown / slope) if grown else self.growth_end
            remedy = f"--rollouts.last-length {reached}" + (f" --rollouts.growth-end {end}" if grown else "")
            raise UsageError(
                f"rollouts grow to {self.last_length} steps at {self.growth_end:,} real steps, and the run has "
                f"{env_steps:,}, at which they have {reached}: give {remedy}, or --env-steps {self.growth_end}."
            )


class Bounds(eqx.Module):
    """Limits of the states that are imagined; with a learned reward, of the reward too."""

    low: Float[Array, "n"]
    high: Float[Array, "n"]

    def __call__(self, x: Float[Array, "n"]) -> Bool[Array, ""]:
        """Whether `x` is finite and within the limits."""
        return jnp.all((x >= self.low) & (x <= self.high))


@eqx.filter_jit
def bounds_of(buffer: Buffer, margin: float, extra: int) -> Bounds:
    """The range of the states (and with `extra` = 1 rewards) of the data, wider by `margin` times its width.

    It reads the whole buffer: compute it once for each fit of the model.
    """
    data, mask = buffer.data, buffer.mask[:, None]
    states = [jnp.concatenate([x, jnp.tile(data.reward[:, None], extra)], axis=1) for x in (data.x, data.x_next)]
    low = jnp.min(jnp.stack([jnp.min(jnp.where(mask, x, jnp.inf), axis=0) for x in states]), axis=0)
    high = jnp.max(jnp.stack([jnp.max(jnp.where(mask, x, -jnp.inf), axis=0) for x in states]), axis=0)
    # A coordinate that hardly varies gets room for the model's noise.
    width = high - low + 1e-3 * jnp.maximum(jnp.abs(low), jnp.abs(high)) + 1e-6
    return Bounds(low - margin * width, high + margin * width)


class RolloutCounts(eqx.Module):
    """What became of the rollouts."""

    started: Int[Array, ""]
    kept: Int[Array, ""]  # transitions
    ended: Int[Array, ""]  # rollouts that came to a terminal state
    cut: Int[Array, ""]  # rollouts that left the bounds
    most_by: Float[Array, "n"]  # farthest distance beyond the bounds of each coordinate, in their widths

    @staticmethod
    def none(n: int) -> "RolloutCounts":
        """Before the first rollout."""
        zero = jnp.zeros((), jnp.int32)
        return RolloutCounts(zero, zero, zero, zero, jnp.zeros(n))

    @property
    def cut_share(self) -> float:
        """The share of rollouts that left the bounds."""
        return float(self.cut) / max(1, int(self.started))


@eqx.filter_jit
def branch(
    problem: Problem,
    policy: Conditional,
    starts: Buffer,
    bounds: Bounds,
    imagined: Buffer,
    size: int,
    batches: Int[Array, ""],
    length: Int[Array, ""],
    key: PRNGKeyArray,
) -> tuple[Buffer, RolloutCounts]:
    """`batches` times `size` rollouts of `length` steps, their transitions appended to the ring `imagined`.

    Compiled once for all numbers and lengths.

    Args:
        problem: the dynamics and the task; states are observations, and the reward where it is learned.
        policy: the distribution of actions given an observation.
        starts: the real experience.
        bounds: the states that are allowed.
        imagined: a ring of at least `size` rows.
        size: B, a multiple of an ensemble's members.
        batches: how often.
        length: k.
        key: random key.
    """
    extra = extra_coordinates(problem)

    def batch(i: Array, carry: tuple[Buffer, RolloutCounts]) -> tuple[Buffer, RolloutCounts]:
        start_key, roll_key = jr.split(jr.fold_in(key, i))
        xs = jnp.pad(starts.sample(size, key=start_key).x, ((0, 0), (0, extra)))
        imagined, counts = carry
        counts = eqx.tree_at(lambda c: c.started, counts, counts.started + size)
        alive = jnp.ones(size, bool)

        def step(t: Array, at: tuple) -> tuple:
            return _step(problem, policy, bounds, at, jr.fold_in(roll_key, t))

        imagined, counts, *_ = jax.lax.fori_loop(0, length, step, (imagined, counts, xs, alive))
        return imagined, counts

    return jax.lax.fori_loop(0, batches, batch, (imagined, RolloutCounts.none(bounds.low.shape[0])))


def _step(
    problem: Problem,
    policy: Conditional,
    bounds: Bounds,
    at: tuple[Buffer, RolloutCounts, Float[Array, "B n"], Bool[Array, "B"]],
    key: PRNGKeyArray,
) -> tuple[Buffer, RolloutCounts, Float[Array, "B n"], Bool[Array, "B"]]:
    """One step of B rollouts, of which those go on that are alive."""
    imagined, counts, xs, alive = at
    order_key, draw_key, noise_key = jr.split(key, 3)
    order = jr.permutation(order_key, xs.shape[0])  # another member for each rollout
    xs, alive = xs[order], alive[order]
    size = xs.shape[1] - extra_coordinates(problem)

    def move(function: Dynamics, x: Array, key: PRNGKeyArray) -> tuple[Transition, Array, Array]:
        act_key, next_key = jr.split(key)
        u = policy(x[:size]).sample(key=act_key)
        x_next = function(x, u, problem.t0).sample(key=next_key)
        reward = -step_cost(problem.task, x, u, x_next, problem.t0)
        ended = problem.task.terminal(x_next)
        row = Transition(x[:size], u, x_next[:size], reward.astype(x.dtype), ended, jnp.zeros((), bool))
        return row, x_next, bounds(x_next) & jnp.isfinite(reward)

    keys = jr.split(noise_key, xs.shape[0])
    rows, x_next, within = over_draws(move, problem.dynamics, xs, keys, key=draw_key)
    kept, cut = alive & within, alive & ~within
    beyond = jnp.maximum(x_next - bounds.high[None], bounds.low[None] - x_next) / (bounds.high - bounds.low)[None]
    counts = RolloutCounts(
        counts.started,
        counts.kept + jnp.sum(kept),
        counts.ended + jnp.sum(kept & rows.terminated),
        counts.cut + jnp.sum(cut),
        jnp.maximum(counts.most_by, jnp.max(jnp.where(cut[:, None], beyond, 0), axis=0)),
    )
    going = kept & ~rows.terminated
    x_next = jnp.where(going[:, None], x_next, xs)  # those that are over stay where they are finite
    return imagined.append(rows, where=kept, episode=0), counts, x_next, going


def require_plausible(
    counts: RolloutCounts, settings: BranchedRollouts, length: int, names: tuple[str, ...]
) -> tuple[str, ...]:
    """A note where rollouts were cut off.

    Args:
        counts: of the rollouts.
        settings: of the rollouts.
        length: steps of each.
        names: of the observation's coordinates.
    Raises:
        NumericalFailure: nearly all of them were cut off, so that little imagined experience is left.
    """
    share = counts.cut_share
    if share <= NOTED:
        return ()
    most_by = np.nan_to_num(np.asarray(counts.most_by), nan=np.inf, posinf=np.inf)
    worst = int(np.argmax(most_by))
    name = names[worst] if worst < len(names) else "the reward"
    what = (
        f"the model diverges: {int(counts.cut):,} of {int(counts.started):,} imagined rollouts ({share:.0%}) left the "
        f"range of the data by more than {settings.bound:g} times its width within {length} steps (farthest: {name}, "
        f"{most_by[worst]:.2g} times the allowed range beyond it)"
    )
    if share > REFUSED:
        raise NumericalFailure(
            f"{what}. Nothing was learned from them: give more --random-steps or shorter rollouts "
            "(--rollouts.first-length 1), or look for outliers in the observations."
        )
    return (f"{what}; they were cut off there.",)
