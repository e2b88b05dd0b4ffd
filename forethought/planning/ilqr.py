"""Iterative LQR: follow the trajectory, expand the problem around it, solve the expansion, correct the actions.

Problem: minimize sum_t c(x_t, u_t, t) + c_T(x_T) over us [T, m] within the task's limits, x_{t+1} the mean of the
dynamics; with a task that has constraints (`forethought.planning.augmented_lagrangian`), subject to those.
One iteration:
    1. derivatives along the trajectory (`expansion.py`); with `second_order` also the dynamics' curvature
    2. corrections du = k + K dx that respect the limits exactly (`backward.py`)
    3. backtracking on the size of k, the dynamics as they are, until the cost falls by enough
    4. less damping after a full step, more after a failed one (Levenberg-Marquardt)
Converged means that the projected gradient by each action, times that action's scale (half its range; 1 where it has
no limits), is at most `tolerance` times the trajectory's cost; or that no further decrease can be seen in this dtype.
Source: Tassa, Mansard & Todorov (2014); Tassa, Erez & Todorov (2012), section II.F, for the damping's schedule.
Differs: where the expansion is not convex, the joint state-action Hessians of the costs are projected onto the convex
ones (after trying without); terminal states are not looked at.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import LinearGaussian, Plan, Problem, Result
from forethought.core.settings import settings
from forethought.core.small_matrices import lazily, matvec
from forethought.planning.anytime import one_step_later
from forethought.planning.augmented_lagrangian import (
    MOST_PENALTY,
    Multipliers,
    constraint_values,
    first_multipliers,
    penalized,
    updated,
)
from forethought.planning.backward import Correction, backward
from forethought.planning.expansion import Expansion, convexified, expand
from forethought.planning.icem import ICEM
from forethought.planning.initial_guesses import (
    action_scale,
    cheapest,
    has_limits,
    limits,
    receding_actions,
    smooth_actions,
)
from forethought.planning.rollout import follow, stage_costs

ARMIJO = 1e-4  # share of the promised decrease that is enough; Nocedal & Wright (2006), section 3.1
LEAST_DAMPING, MOST_DAMPING = 1e-9, 1e10  # the least keeps Q_uu positive where actions cost nothing


class ILQRState(eqx.Module):
    """The warm start: where the next search begins."""

    us: Float[Array, "T m"]


class ILQRSearch(eqx.Module):
    """A trajectory on its way to the optimum; in `begin`, `improve` and `finish` a stack [starts] of them."""

    xs: Float[Array, "*s S n"]
    us: Float[Array, "*s T m"]
    K: Float[Array, "*s T m n"]  # feedback, of the last backward pass
    cost: Float[Array, "*s"]  # with what constraints add
    total: Float[Array, "*s"]  # sum of absolute costs: what numbers are compared with
    damping: Float[Array, "*s"]  # relative to the mean of the absolute costs
    multipliers: Multipliers | None  # of the constraints; None where there are none
    result: Int[Array, "*s"]
    done: Bool[Array, "*s"]
    steps: Int[Array, "*s"]  # iterations so far


@settings
class ILQR:
    """Settings of iLQR."""

    horizon: int | None = None  # steps; none takes the task's own
    iterations: int = 500  # at most
    tolerance: float = 1e-6  # greatest projected gradient, as a share of the cost
    second_order: bool = False  # with the curvature of the dynamics (DDP)
    starts: int = 32  # trajectories that are tried: the warm start, guided ones and random smooth actions
    guided: int = 7  # of them, at most, those of the guide's receding-horizon control
    screening: int = 100  # iterations after which only the cheapest trajectories go on
    kept: int = 4  # trajectories that go on; divides starts
    spread: float = 0.2  # std of random actions, as a share of half their range
    knot: int = 6  # steps between two knots of random actions
    guide: ICEM = ICEM(horizon=30, population=64, iterations=2, particles=1)
    damping: float = 1e-3  # at first, relative to the mean cost of a step
    backtracks: int = 10  # halvings of a step
    penalty: float = 1.0  # at first, for each unit of squared violation of a constraint
    penalty_growth: float = 10.0  # factor, where constraints are not met quickly enough
    violation: float = 1e-5  # of constraints that still counts as keeping them, in their units

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name, least in (
            ("iterations", 1),
            ("starts", 1),
            ("kept", 1),
            ("guided", 0),
            ("screening", 0),
            ("knot", 1),
            ("backtracks", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"ILQR.{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("tolerance", "spread", "damping"):
            if getattr(self, name) <= 0:
                raise ValueError(f"ILQR.{name} must be positive, got {getattr(self, name)}.")
        if self.kept < self.starts and self.starts % self.kept:
            raise ValueError(f"ILQR.kept ({self.kept}) must divide starts ({self.starts}).")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"ILQR.horizon must be at least 1, or None for the task's own; got {self.horizon}.")

    @property
    def stages(self) -> int:
        """The first iteration also draws the random starts."""
        return 2

    def init(self, problem: Problem) -> ILQRState:
        """Start in the middle of the action range."""
        middle, _ = action_scale(problem.task)
        return ILQRState(jnp.broadcast_to(middle, (self.horizon or problem.task.horizon, middle.shape[0])))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: ILQRState, *, key: PRNGKeyArray
    ) -> tuple[Plan, ILQRState]:
        """The best trajectory found with its feedback gains, and the warm start for the next step."""
        search = self._draw(problem, x0, self.begin(problem, x0, state), key=key)
        return self.finish(problem, x0, self._screened(problem, search))

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: ILQRState) -> ILQRSearch:
        """All starts at the warm start."""
        search = start(self, problem, x0, state.us.astype(x0.dtype))
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (self.starts, *a.shape)), search)

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: ILQRSearch, i: int, *, key: PRNGKeyArray
    ) -> ILQRSearch:
        """One iteration of every start that is not done; before the first one, the random starts are drawn."""
        if i == 0:
            search = self._draw(problem, x0, search, key=key)
        return jax.vmap(lambda one: solve(self, problem, one, 1))(search)

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: ILQRSearch) -> tuple[Plan, ILQRState]:
        """The cheapest trajectory; among those that keep the constraints, and that have converged, if any has."""
        del x0
        costs = jax.vmap(lambda one: jnp.sum(stage_costs(problem, one.xs, one.us)))(search)
        values = jax.vmap(lambda one: constraint_values(problem.task, one.xs, one.us))(search)
        if values is not None:
            violations = jax.vmap(lambda value: value.violation)(values)
            costs = jnp.where(violations <= jnp.maximum(10 * self.violation, jnp.min(violations)), costs, jnp.inf)
        settled = (search.result == Result.converged) & jnp.isfinite(costs)
        costs = jnp.where(settled | ~jnp.any(settled), costs, jnp.inf)
        best = jax.tree.map(lambda a: a[cheapest(costs, 1)[0]], search)
        return as_plan(problem, best), ILQRState(one_step_later(best.us))

    def _draw(self, problem: Problem, x0, search: ILQRSearch, *, key: PRNGKeyArray) -> ILQRSearch:
        """All starts but the first get the actions of the guide, or random smooth ones."""
        if self.starts == 1:
            return search
        guide_key, draw_key = jr.split(key)
        us, T = [search.us[:1]], search.us.shape[1]
        guided = min(self.guided, self.starts - 1)
        if guided:
            follow_guide = partial(receding_actions, self.guide, problem, x0, T)
            us += [jax.vmap(lambda key: follow_guide(key=key))(jr.split(guide_key, guided))]
        middle, scale = (a.astype(x0.dtype) for a in action_scale(problem.task))
        count = self.starts - 1 - guided
        us += [smooth_actions(count, T, middle, self.spread * scale, knot=self.knot, key=draw_key)]
        return jax.vmap(lambda us: start(self, problem, x0, us))(jnp.concatenate(us))

    def _screened(self, problem: Problem, search: ILQRSearch) -> ILQRSearch:
        """All starts for a while, `kept` at a time; then the cheapest of them to the end, in the same compiled loop."""
        if self.kept >= self.starts:
            return jax.vmap(lambda one: solve(self, problem, one, self.iterations))(search)
        blocks = self.starts // self.kept

        def block(search: ILQRSearch, i) -> tuple[ILQRSearch, None]:
            in_turn = i * self.kept + jnp.arange(self.kept)
            rows = jnp.where(i < blocks, in_turn, cheapest(search.cost, self.kept))
            iterations = jnp.where(i < blocks, self.screening, self.iterations)
            part = jax.tree.map(lambda a: a[rows], search)
            part = jax.vmap(lambda one: solve(self, problem, one, iterations))(part)
            return jax.tree.map(lambda a, b: a.at[rows].set(b), search, part), None

        return jax.lax.scan(block, search, jnp.arange(blocks + 1))[0]


def start(settings: ILQR, problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> ILQRSearch:
    """The search that begins with the actions `us`, brought within the limits."""
    us = jnp.clip(us, *limits(problem.task, x0.dtype))
    xs, us = follow(problem, x0, lambda _, t: us[t], us.shape[0])
    multipliers = first_multipliers(problem.task, xs, us, settings.penalty)
    cost, total = _evaluate(penalized(problem, multipliers), xs, us)
    result = jnp.where(jnp.isfinite(cost), Result.budget_exhausted, Result.not_finite).astype(int)
    K = jnp.zeros((*us.shape, x0.shape[0]), us.dtype)
    damping = jnp.array(settings.damping, us.dtype)
    return ILQRSearch(xs, us, K, cost, total, damping, multipliers, result, ~jnp.isfinite(cost), jnp.array(0))


def solve(settings: ILQR, problem: Problem, search: ILQRSearch, iterations: int | Array) -> ILQRSearch:
    """Up to so many iterations, until the search is done; no more than the settings allow in all."""
    last = jnp.minimum(search.steps + iterations, settings.iterations)
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < last), lambda s: iterate(settings, problem, s), search)


def iterate(settings: ILQR, problem: Problem, search: ILQRSearch) -> ILQRSearch:
    """One iteration, as in the notation block."""
    base, problem = problem, penalized(problem, search.multipliers)
    expansion = expand(problem, search.xs, search.us, second_order=settings.second_order)  # 1
    correction = _correct(problem, expansion, search)  # 2
    promise = -0.5 * correction.slope
    unseen = promise <= 4 * jnp.finfo(search.cost.dtype).eps * search.total
    settled = correction.positive & ((correction.gradient <= settings.tolerance * search.total) | unseen)
    trial = _backtrack(settings, problem, search, correction, correction.positive & ~settled)  # 3
    K = jnp.where(correction.positive, correction.K, search.K)
    damping = search.damping * jnp.where(trial.accepted, jnp.where(trial.size > 0.3, 0.2, 2.0), 10.0)  # 4
    damping = jnp.where(settled, LEAST_DAMPING, jnp.clip(damping, LEAST_DAMPING, None))
    result = jnp.where(settled, Result.converged, search.result)
    # Settled for the first time, with damping: once more without, for the gains.
    again = (search.damping > LEAST_DAMPING) & (search.result != Result.converged)
    done = (settled & ~again) | (damping > MOST_DAMPING)
    moved = (trial.xs, trial.us, K, trial.cost, trial.total, damping)
    search = ILQRSearch(*moved, search.multipliers, result, done, search.steps + 1)
    return search if search.multipliers is None else _tighten(settings, base, search)


def _tighten(settings: ILQR, problem: Problem, search: ILQRSearch) -> ILQRSearch:
    """Where the penalized problem is solved but the constraints are not met: new multipliers, and go on."""
    values = constraint_values(problem.task, search.xs, search.us)
    before, most = search.multipliers, settings.penalty * MOST_PENALTY
    assert before is not None and values is not None
    multipliers = updated(before, values, settings.penalty_growth, most)
    met = multipliers.residual <= settings.violation
    again = search.done & ~met & (before.penalty < most)
    cost, total = _evaluate(penalized(problem, multipliers), search.xs, search.us)
    fresh = (multipliers, cost, total, jnp.full_like(cost, settings.damping))
    now = (before, search.cost, search.total, search.damping)
    multipliers, cost, total, damping = jax.tree.map(lambda a, b: jnp.where(again, a, b), fresh, now)
    result = jnp.where(search.done & ~met, Result.budget_exhausted, search.result)
    return ILQRSearch(
        xs=search.xs,
        us=search.us,
        K=search.K,
        cost=cost,
        total=total,
        damping=damping,
        multipliers=multipliers,
        result=result,
        done=search.done & ~again,
        steps=search.steps,
    )


def _correct(problem: Problem, expansion: Expansion, search: ILQRSearch) -> Correction:
    """The backward pass; once more with convex Hessians where some Q_uu is not positive definite."""
    dtype, n = search.us.dtype, search.xs.shape[1]
    low, high = limits(problem.task, dtype)
    bounds = (low - search.us, high - search.us) if has_limits(problem.task) else None
    scale = action_scale(problem.task)[1].astype(dtype)
    weights = jnp.concatenate([jnp.zeros(n, dtype), 1 / scale**2])
    damping = search.damping * search.total / search.xs.shape[0] * weights

    def attempt(carry):
        expansion, _, tries = carry
        expansion = lazily(tries == 1, convexified, expansion)
        return expansion, backward(expansion, damping, scale, bounds), tries + 1

    nothing = Correction(
        search.K, jnp.zeros_like(search.us), jnp.zeros_like(search.cost), jnp.zeros_like(search.cost), jnp.array(False)
    )
    wanted = lambda carry: ~carry[1].positive & (carry[2] < 2)  # noqa: E731
    return jax.lax.while_loop(wanted, attempt, (expansion, nothing, jnp.array(0)))[1]


class _Trial(eqx.Module):
    """A trajectory that a step of `size` leads to; that of the search itself where none was accepted."""

    xs: Float[Array, "S n"]
    us: Float[Array, "T m"]
    cost: Float[Array, ""]
    total: Float[Array, ""]
    size: Float[Array, ""]
    accepted: Bool[Array, ""]


def _backtrack(settings: ILQR, problem: Problem, search: ILQRSearch, correction: Correction, wanted) -> _Trial:
    """The first of the steps 1, 1/2, 1/4 ... whose cost falls by enough."""
    low, high = (limit[0] for limit in limits(problem.task, search.us.dtype))

    def attempt(trial: _Trial) -> _Trial:
        size = 0.5 * trial.size

        def act(x, t):
            moved = search.us[t] + size * correction.k[t] + matvec(correction.K[t], x - search.xs[t])
            return jnp.clip(moved, low, high)

        xs, us = follow(problem, search.xs[0], act, search.us.shape[0])
        cost, total = _evaluate(problem, xs, us)
        accepted = cost <= search.cost + ARMIJO * size * correction.slope
        proposed = _Trial(xs, us, cost, total, size, accepted)
        kept = eqx.tree_at(lambda trial: trial.size, trial, size)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, kept)

    least = 0.5**settings.backtracks
    unchanged = _Trial(search.xs, search.us, search.cost, search.total, jnp.full_like(search.cost, 2), jnp.array(False))
    return jax.lax.while_loop(lambda t: wanted & ~t.accepted & (t.size > least), attempt, unchanged)


def _evaluate(problem: Problem, xs, us) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The cost, and the sum of absolute costs."""
    costs = stage_costs(problem, xs, us)
    return jnp.sum(costs), jnp.sum(jnp.abs(costs))


def as_plan(problem: Problem, search: ILQRSearch) -> Plan:
    """The trajectory and its feedback gains."""
    xs, us, K = search.xs, search.us, search.K
    f = us - jnp.sum(K * xs[:-1, None], axis=2)
    policy = LinearGaussian(K, f, jnp.zeros((*us.shape, us.shape[1]), us.dtype))
    return Plan(policy, xs, jnp.sum(stage_costs(problem, xs, us)), search.result, search.steps)
