"""Iterative LQR: expand the problem around a trajectory, solve the expansion, correct the actions, repeat.

Problem: minimize sum_t c(x_t, u_t, t) + c_T(x_T) over us [T, m] within the task's limits, x_{t+1} the mean of the
dynamics; with a task that has constraints (`forethought.planning.augmented_lagrangian`), subject to those.
One iteration:
    1. derivatives along the trajectory (`expansion.py`); with `second_order` also the dynamics' curvature
    2. corrections du = k + K dx that respect the limits exactly (`backward.py`)
    3. backtracking on the size of k, by rollouts of the nonlinear dynamics, until the cost decreases enough
    4. less damping after a full step, more after a failed one (Levenberg-Marquardt)
The result is
    converged   the projected gradient by each action, times that action's scale (half its range; 1 where it has no
                limits), is at most `tolerance` times the trajectory's cost; or the decrease that the step without
                damping promises is within rounding
    stalled     no step decreases the cost although that promise is not within rounding: the derivatives are wrong,
                the cost is not smooth, or the dtype is too coarse
The answer is the trajectory of lowest cost, whatever its result.
Source: Tassa, Mansard & Todorov (2014); Tassa, Erez & Todorov (2012), section II.F, for the damping's schedule.
Differs: where the expansion is not convex, the joint state-action Hessians of the costs are projected onto the convex
ones (after trying without).  The step at which an episode ends counts as given: it has no derivative.
"""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import LinearGaussian, Plan, Problem, Result, box_of
from forethought.core.settings import settings
from forethought.core.small_matrices import matvec
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
from forethought.planning.initial_guesses import (
    action_scale,
    cheapest,
    has_limits,
    limits,
    sampled_guesses,
)
from forethought.planning.rollout import follow, stage_costs

ARMIJO = 1e-4  # share of the promised decrease that is enough; Nocedal & Wright (2006), section 3.1
LEAST_DAMPING, MOST_DAMPING = 1e-9, 1e10  # the least keeps Q_uu positive where actions cost nothing
INVISIBLE = 4.0  # rounding units of the cost: a smaller promised decrease cannot be seen
NEGLIGIBLE = 1000.0  # likewise: a smaller one that no step achieves is put down to rounding of the rollout


class ILQRState(eqx.Module):
    """The warm start: where the next search begins."""

    us: Float[Array, "T m"]


class ILQRSearch(eqx.Module):
    """A trajectory on its way to the optimum; in `begin`, `improve` and `finish` a stack [starts] of them."""

    us: Float[Array, "*s T m"]
    xs: Float[Array, "*s T+1 n"]
    K: Float[Array, "*s T m n"]  # feedback gains of the last backward pass
    cost: Float[Array, "*s"]  # including the charge for constraints
    total: Float[Array, "*s"]  # sum of absolute costs, the scale for tolerances
    damping: Float[Array, "*s"]  # relative to the mean of the absolute costs
    multipliers: Multipliers | None  # of the constraints; None without constraints
    result: Int[Array, "*s"]  # of core.Result; budget_exhausted until done
    done: Bool[Array, "*s"]
    checked: Bool[Array, "*s"]  # whether the step without damping failed from this trajectory
    steps: Int[Array, "*s"]  # iterations so far


@settings
class ILQR:
    """Settings of iLQR."""

    horizon: int | None = None  # planning horizon, steps; none: the task's own
    iterations: int = 500  # most iterations
    tolerance: float = 1e-6  # largest projected gradient at convergence, as a share of the cost
    second_order: bool = False  # include the second derivatives of the dynamics (DDP)
    starts: int = 48  # trajectories that are optimized: the warm start and those of a sampling search
    samples: int = 16  # candidates of the sampling search, per start and round
    rounds: int = 40  # rounds of the sampling search, in which its horizon grows
    screening: int = 30  # iterations of every start; after them only the cheapest continue
    kept: int = 4  # trajectories that continue after screening; divides starts
    damping: float = 1e-3  # initial Levenberg-Marquardt damping, relative to the mean cost of a step
    backtracks: int = 10  # halvings of the step size
    penalty: float = 1.0  # initial penalty per squared unit of constraint violation
    penalty_growth: float = 10.0  # factor on the penalty where violations fall too slowly
    violation: float = 1e-5  # largest violation that still satisfies a constraint, in the constraint's unit

    def __post_init__(self):
        """Refuse settings that cannot work."""
        for name, least in (
            ("iterations", 1),
            ("starts", 1),
            ("samples", 1),
            ("rounds", 1),
            ("screening", 0),
            ("kept", 1),
            ("backtracks", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"ILQR.{name} must be at least {least}, got {getattr(self, name)}.")
        for name in ("tolerance", "damping", "penalty", "violation"):
            if getattr(self, name) <= 0:
                raise ValueError(f"ILQR.{name} must be positive, got {getattr(self, name)}.")
        if self.kept < self.starts and self.starts % self.kept:
            raise ValueError(f"ILQR.kept ({self.kept}) must divide starts ({self.starts}).")
        if self.horizon is not None and self.horizon < 1:
            raise ValueError(f"ILQR.horizon must be at least 1, or None for the task's own; got {self.horizon}.")

    def stage(self, i: int) -> int:
        """The first iteration also searches for the starts."""
        return min(i, 1)

    def init(self, problem: Problem) -> ILQRState:
        """Start in the middle of the action range."""
        middle, _ = action_scale(problem.task)
        return ILQRState(jnp.broadcast_to(middle, (self.horizon or problem.task.horizon, middle.shape[0])))

    def with_guess(self, state: ILQRState, us: Float[Array, "T m"]) -> ILQRState:
        """The search begins at `us`."""
        return ILQRState(us.astype(state.us.dtype))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: ILQRState, *, key: PRNGKeyArray
    ) -> tuple[Plan, ILQRState]:
        """The best trajectory found with its feedback gains, and the warm start for the next step."""
        return self.finish(problem, x0, self._screened(problem, self._starts(problem, x0, state.us, key=key)))

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: ILQRState) -> ILQRSearch:
        """All starts at the warm start."""
        search = start(self, problem, x0, state.us)
        return jax.tree.map(lambda a: jnp.broadcast_to(a, (self.starts, *a.shape)), search)

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: ILQRSearch, i: int, *, key: PRNGKeyArray
    ) -> ILQRSearch:
        """One iteration of every start that is not done; before the first one, the starts are searched for."""
        if i == 0:
            search = self._starts(problem, x0, search.us[0], key=key)
        return jax.vmap(lambda one: solve(self, problem, one, 1))(search)

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: ILQRSearch) -> tuple[Plan, ILQRState]:
        """The trajectory of lowest cost among those that keep the constraints, or come closest to it."""
        del x0
        costs = jax.vmap(lambda one: jnp.sum(stage_costs(problem, one.xs, one.us)))(search)
        values = jax.vmap(lambda one: constraint_values(problem, one.xs, one.us))(search)
        if values is not None:
            violations = jax.vmap(lambda value: value.violation)(values)
            kept, least = violations <= 10 * self.violation, jnp.min(violations)
            costs = jnp.where(kept | (violations <= least), costs, jnp.inf)
            search = eqx.tree_at(lambda s: s.result, search, jnp.where(kept, search.result, Result.infeasible))
        best = jax.tree.map(lambda a: a[cheapest(costs, 1)[0]], search)
        return as_plan(problem, best), ILQRState(one_step_later(best.us))

    def _starts(self, problem: Problem, x0, us: Float[Array, "T m"], *, key: PRNGKeyArray) -> ILQRSearch:
        """The warm start `us`, and the sequences that the sampling search finds."""
        us = _within_limits(problem, us, x0)
        if self.starts == 1:
            return jax.tree.map(lambda a: a[None], start(self, problem, x0, us))
        search = partial(sampled_guesses, starts=self.starts, samples=self.samples, rounds=self.rounds, key=key)
        us, xs = search(_with_first_penalty(self, problem, x0, us), x0, us)
        return jax.vmap(lambda us, xs: _search_from(self, problem, us, xs))(us, xs)

    def _screened(self, problem: Problem, search: ILQRSearch) -> ILQRSearch:
        """All starts for `screening` iterations, `kept` at a time; then the cheapest to the end, in the same loop."""
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
    """The search that begins with the actions `us`, clipped to the limits."""
    us = _within_limits(problem, us, x0)
    xs, us = follow(problem, x0, lambda _, i: us[i], us.shape[0])
    return _search_from(settings, problem, us, xs)


def _within_limits(problem: Problem, us: Float[Array, "T m"], x0: Float[Array, "n"]) -> Float[Array, "T m"]:
    """The actions, clipped, in the dtype of the state."""
    return jnp.clip(us.astype(x0.dtype), *limits(problem.task, x0.dtype))


def _search_from(settings: ILQR, problem: Problem, us: Float[Array, "T m"], xs: Float[Array, "T+1 n"]) -> ILQRSearch:
    """The search that begins with a trajectory."""
    multipliers = first_multipliers(problem, xs, us, settings.penalty)
    cost, total = _evaluate(penalized(problem, multipliers), xs, us)
    return ILQRSearch(
        us=us,
        xs=xs,
        K=jnp.zeros((*us.shape, xs.shape[1]), us.dtype),
        cost=cost,
        total=total,
        damping=jnp.array(settings.damping, us.dtype),
        multipliers=multipliers,
        result=jnp.where(jnp.isfinite(cost), Result.budget_exhausted, Result.not_finite).astype(int),
        done=~jnp.isfinite(cost),
        checked=jnp.array(False),
        steps=jnp.array(0),
    )


def _with_first_penalty(settings: ILQR, problem: Problem, x0: Float[Array, "n"], us: Float[Array, "T m"]) -> Problem:
    """The problem whose cost charges for violated constraints, as the first iteration sees it."""
    xs = jnp.broadcast_to(x0, (us.shape[0] + 1, *x0.shape))  # for the number of constraints alone
    return penalized(problem, first_multipliers(problem, xs, us, settings.penalty))


def solve(settings: ILQR, problem: Problem, search: ILQRSearch, iterations: int | Array) -> ILQRSearch:
    """At most `iterations` more, until the search is done; never more than the settings allow in all."""
    last = jnp.minimum(search.steps + iterations, settings.iterations)
    return jax.lax.while_loop(lambda s: ~s.done & (s.steps < last), lambda s: iterate(settings, problem, s), search)


def iterate(settings: ILQR, problem: Problem, search: ILQRSearch) -> ILQRSearch:
    """One iteration, as in the notation block."""
    base, problem = problem, penalized(problem, search.multipliers)
    expansion = expand(problem, search.xs, search.us, second_order=settings.second_order)  # 1
    correction = _correct(problem, expansion, search)  # 2
    converged, recheck = _optimality(settings, search, correction)
    trial = _backtrack(settings, problem, search, correction, correction.positive & ~converged & ~recheck)  # 3
    failed = ~converged & ~recheck & ~trial.accepted & (search.damping <= LEAST_DAMPING)
    rounding = _promise(correction) <= NEGLIGIBLE * jnp.finfo(search.cost.dtype).eps * search.total
    converged |= failed & correction.positive & rounding
    hopeless = (search.damping > MOST_DAMPING) | (search.checked & correction.positive & _invisible(search, correction))
    stalled = hopeless & ~trial.accepted
    damping = search.damping * jnp.where(trial.accepted, jnp.where(trial.size > 0.3, 0.2, 2.0), 10.0)  # 4
    damping = jnp.where(failed, settings.damping, jnp.clip(damping, LEAST_DAMPING, None))
    damping = jnp.where(converged | recheck, LEAST_DAMPING, damping)
    result = jnp.where(stalled, Result.stalled, search.result)
    search = ILQRSearch(
        us=trial.us,
        xs=trial.xs,
        K=jnp.where(correction.positive, correction.K, search.K),
        cost=trial.cost,
        total=trial.total,
        damping=damping,
        multipliers=search.multipliers,
        result=jnp.where(converged, Result.converged, result),
        done=converged | stalled,
        checked=~trial.accepted & (search.checked | failed),
        steps=search.steps + 1,
    )
    return search if search.multipliers is None else _tighten(settings, base, search)


def _optimality(settings: ILQR, search: ILQRSearch, correction: Correction) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Whether the search has converged, and whether to compute the correction again without damping first.

    A damped step promises little because it is damped: only the one without damping, whose gains are also those that
    the plan needs, shows that no decrease is left.
    """
    flat = correction.gradient <= settings.tolerance * search.total
    settled = correction.positive & (flat | _invisible(search, correction))
    undamped = search.damping <= LEAST_DAMPING
    return settled & (undamped | (flat & search.checked)), settled & ~undamped & ~search.checked


def _promise(correction: Correction) -> Float[Array, ""]:
    """The decrease of the cost that the expansion predicts for a full step."""
    return -0.5 * correction.slope


def _invisible(search: ILQRSearch, correction: Correction) -> Bool[Array, ""]:
    """Whether the promised decrease is lost in the rounding of the cost."""
    return _promise(correction) <= INVISIBLE * jnp.finfo(search.cost.dtype).eps * search.total


def _tighten(settings: ILQR, problem: Problem, search: ILQRSearch) -> ILQRSearch:
    """Where the penalized problem is solved but the constraints are not met: new multipliers, and go on."""
    values = constraint_values(problem, search.xs, search.us)
    before, most = search.multipliers, settings.penalty * MOST_PENALTY
    assert before is not None and values is not None
    multipliers = updated(before, values, settings.penalty_growth, most)
    met = multipliers.residual <= settings.violation
    again = search.done & ~met & (before.penalty < most)
    cost, total = _evaluate(penalized(problem, multipliers), search.xs, search.us)
    fresh = (multipliers, cost, total, jnp.full_like(cost, settings.damping), jnp.array(False))
    now = (before, search.cost, search.total, search.damping, search.checked)
    multipliers, cost, total, damping, checked = jax.tree.map(lambda a, b: jnp.where(again, a, b), fresh, now)
    return ILQRSearch(
        us=search.us,
        xs=search.xs,
        K=search.K,
        cost=cost,
        total=total,
        damping=damping,
        multipliers=multipliers,
        result=jnp.where(search.done & ~met, Result.budget_exhausted, search.result),
        done=search.done & ~again,
        checked=checked,
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
        _, tries = carry
        return backward(convexified(expansion, tries == 1), damping, scale, bounds), tries + 1

    none = Correction(
        search.K, jnp.zeros_like(search.us), jnp.zeros_like(search.cost), jnp.zeros_like(search.cost), jnp.array(False)
    )
    wanted = lambda carry: ~carry[0].positive & (carry[1] < 2)  # noqa: E731
    return jax.lax.while_loop(wanted, attempt, (none, jnp.array(0)))[0]


class _Trial(eqx.Module):
    """A trajectory that a step of `size` leads to; that of the search itself where none was accepted."""

    us: Float[Array, "T m"]
    xs: Float[Array, "T+1 n"]
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
        accepted = (cost < search.cost) & (cost <= search.cost + ARMIJO * size * correction.slope)
        proposed = _Trial(us, xs, cost, total, size, accepted)
        kept = eqx.tree_at(lambda trial: trial.size, trial, size)
        return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), proposed, kept)

    least = 0.5**settings.backtracks
    unchanged = _Trial(search.us, search.xs, search.cost, search.total, jnp.full_like(search.cost, 2), jnp.array(False))
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
    return Plan(policy, xs, jnp.sum(stage_costs(problem, xs, us)), search.result, box_of(problem.task), search.steps)
