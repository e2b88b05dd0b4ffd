"""One improvement of local controllers: fitted dynamics, expanded costs, and the trust-region step.

Symbols: C conditions, N rollouts of each, T steps; z = [x; u] [d]; everything in `LocalUnits`, in float64.
    dynamics    x' ~ N(F_t z + f_t, cov_t)          fitted to the N rollouts of a condition, with a prior
    cost        0.5 z'C_t z + c_t'z + const_t       second-order expansion along their mean, convexified
    step        the controller of least expected cost with KL(p(tau) || p_old(tau)) <= epsilon
    epsilon     kl_step * multiplier * T            the multiplier from predicted against actual improvement
    taken back  a step after which the rollouts cost clearly more: the next one starts where it started, and is smaller
Source: Levine & Abbeel (2014), "Learning neural network policies with guided policy search under unknown dynamics",
section 3, and the authors' code for the multiplier.
Differs: the actual improvement is that of the mean cost of the rollouts, not of the expected cost under the fitted
models; the cost is expanded along the mean trajectory instead of at each rollout; its indefinite Hessians are replaced
by the nearest positive semi-definite ones; the covariances of controllers have a lower bound; steps are taken back.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.core import Box, Gaussian, LinearGaussian, Problem, Quadratic, Result, Task
from forethought.core.linalg import symmetrize
from forethought.core.settings import settings
from forethought.core.timing import trajectory_costs
from forethought.core.units import Units, change_units
from forethought.dynamics.time_varying import TimeVarying
from forethought.models.linear_gaussian import NormalInverseWishart, fit_linear_gaussian
from forethought.planning.expansion import Expansion, convexified, expand
from forethought.planning.lqr import solve_lqr
from forethought.planning.trust_region import constrained_step, expected_costs, next_step_size, trajectory_kl

CERTAIN = 3.0  # standard errors by which rollouts must be worse, at least, for a step to be taken back
START_VARIANCE = 1e-6  # of the initial state, added to that of the rollouts
DAMPING = 1e-6  # curvature added to the actions' cost without a trust region, relative to the largest curvature


@settings
class TrustRegion:
    """How far a controller may move in one round."""

    kl_step: float = 1.0  # KL divergence allowed per step of the episode, nats, before the adaptation of the step size
    smallest: float = 0.1  # lower bound of the factor on kl_step that predicted and actual improvement determine
    largest: float = 3.0  # upper bound of this factor; 1 and 1: no adaptation
    undone: int = 3  # times in a row that a step that made the rollouts clearly worse is taken back
    enabled: bool = True  # false: plain LQR through the fitted models, with the noise of the initial controller
    least_noise: float = (
        0.02  # lower bound of the std of the actions in every direction, share of half the action range
    )

    def __post_init__(self):
        """Refuse settings that cannot work."""
        if not self.kl_step > 0 or not self.least_noise > 0:
            raise ValueError(
                f"TrustRegion needs kl_step > 0 and least_noise > 0; got {self.kl_step} and {self.least_noise}."
            )
        if self.undone < 0:
            raise ValueError(f"TrustRegion.undone must be at least 0, got {self.undone}.")
        if not 0 < self.smallest <= self.largest:
            raise ValueError(f"TrustRegion needs 0 < smallest <= largest; got {self.smallest} and {self.largest}.")


class LocalUnits(eqx.Module):
    """Units of states and actions in which the improvement computes."""

    x: Units
    u: Units

    @staticmethod
    def of(xs: Float[Array, "N n"], box: Box) -> "LocalUnits":
        """States in standard deviations of `xs`, those that hardly move as they are; actions in half their range."""
        std = jnp.std(xs, axis=0)
        moves = std > 1e-3 * jnp.max(std)
        return LocalUnits(Units(jnp.mean(xs, axis=0), jnp.where(moves, std, 1.0)), Units(box.center, box.half_range))

    @property
    def z(self) -> Units:
        """Of states and actions side by side."""
        return self.x.join(self.u)


class LocalProblem(eqx.Module):
    """The problem around the rollouts of one condition."""

    dynamics: LinearGaussian  # stacked [T], over z
    cost: Quadratic  # stacked [T], over z
    final: Quadratic
    initial: Gaussian
    xs: Float[Array, "*C T1 n"]  # the mean trajectory, in the units of the task
    paid: Float[Array, "*C"]  # mean cost of the rollouts
    error: Float[Array, "*C"]  # its standard error
    result: Int[Array, "*C"]  # of core.Result


class Accepted(eqx.Module):
    """The last problem whose rollouts were not much worse than those before, and what its step started from."""

    problem: LocalProblem
    old: LinearGaussian  # stacked [T], in the units of the problem


class Progress(eqx.Module):
    """What a round leaves behind for the adaptation of the next step, for one condition."""

    multiplier: Float[Array, "*C"]
    eta: Float[Array, "*C"]  # the last multiplier of the constraint, cost per nat
    cost: Float[Array, "*C"]  # mean cost of the accepted rollouts; NaN before the first round
    predicted: Float[Array, "*C"]  # improvement that the last step promised
    undone: Float[Array, "*C"]  # steps that were taken back since the last accepted one

    @staticmethod
    def none(conditions: int) -> "Progress":
        """Before the first round."""
        ones = jnp.ones(conditions)
        return Progress(ones, ones, jnp.nan * ones, 0 * ones, 0 * ones)


class Improvement(eqx.Module):
    """A step of one condition's controller."""

    policy: LinearGaussian  # stacked [T], over x
    progress: Progress
    kl: Float[Array, ""]  # between the new and the old distribution of trajectories, nats
    epsilon: Float[Array, ""]  # its bound
    expected: Float[Array, ""]  # cost of the old controller by the fitted problem
    actual: Float[Array, ""]  # improvement of the last step, measured by the rollouts; NaN before the second round
    accepted: Accepted  # what this step was made from
    undone: Bool[Array, ""]  # whether the last step was taken back
    result: Int[Array, ""]  # of core.Result; if it is not usable, the policy is the old one


def local_problem(
    task: Task,
    units: LocalUnits,
    xs: Float[Array, "N T1 n"],
    us: Float[Array, "N T m"],
    prior: NormalInverseWishart | None,
    regularization: float,
) -> LocalProblem:
    """Dynamics and costs around the rollouts of one condition.

    Args:
        task: for its costs, in its own units.
        units: of the results.
        xs: states, in the task's units.
        us: actions that were asked for.
        prior: of [z; x'], stacked [T], in `units`; None for plain regression.
        regularization: of the regression; see `fit_linear_gaussian`.
    """
    scaled_xs = jax.vmap(jax.vmap(units.x))(xs)
    zs = jnp.concatenate([scaled_xs[:, :-1], jax.vmap(jax.vmap(units.u))(us)], axis=2)
    fit = fit_linear_gaussian(zs, scaled_xs[:, 1:], prior, regularization=regularization, varying=us.shape[2])
    cost, final = _costs(task, units, fit.conditional, jnp.mean(xs, axis=0), jnp.mean(us, axis=0))
    start = jnp.mean(scaled_xs[:, 0], axis=0)
    spread = scaled_xs[:, 0] - start[None]
    initial = Gaussian(start, spread.T @ spread / xs.shape[0] + START_VARIANCE * jnp.eye(start.shape[0]))
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves((cost, final))]))
    result = jnp.where(finite, jnp.max(fit.result), Result.not_finite).astype(jnp.int32)
    each = jax.vmap(lambda xs, us: jnp.sum(trajectory_costs(task, xs, us, jnp.arange(us.shape[0]))))(xs, us)
    error = jnp.std(each) / jnp.sqrt(xs.shape[0])
    return LocalProblem(fit.conditional, cost, final, initial, jnp.mean(xs, axis=0), jnp.mean(each), error, result)


def improve(
    region: TrustRegion,
    problem: LocalProblem,
    old: LinearGaussian,
    noise: Float[Array, "m"],
    before: Progress,
    last: Accepted | None = None,
) -> Improvement:
    """The next controller of one condition.

    Args:
        region: settings.
        problem: fitted to rollouts.
        old: the controller that the step must stay close to, stacked [T], in the units of `problem`.
        noise: standard deviations of the actions of the new controller without a trust region, in these units.
        before: what the last round left behind.
        last: what the last step was made from.  If that step made the rollouts worse by more than it promised to
            improve them, and by more than `CERTAIN` standard errors, it is taken back: the new step starts from here,
            with a smaller bound.  None: never.
    """
    steps = old.f.shape[0]
    actual = before.cost - problem.paid
    adapted = next_step_size(before.multiplier, before.predicted, actual)
    multiplier = jnp.where(jnp.isnan(before.cost), before.multiplier, adapted)
    multiplier = jnp.clip(multiplier, region.smallest, region.largest)
    undone = jnp.array(False)
    if last is not None and region.enabled:
        noise_of_costs = CERTAIN * jnp.sqrt(last.problem.error**2 + problem.error**2)
        undone = (-actual > jnp.maximum(before.predicted, noise_of_costs)) & (before.undone < region.undone)
        problem, old = jax.tree.map(lambda a, b: jnp.where(undone, a, b), (last.problem, last.old), (problem, old))
    expected = _expected(old, problem)
    epsilon = region.kl_step * multiplier * steps
    if region.enabled:
        step = constrained_step(
            problem.dynamics, problem.cost, problem.final, old, problem.initial, epsilon, eta=before.eta
        )
        policy, eta, result = step.policy, step.eta, step.result
        policy = LinearGaussian(policy.F, policy.f, jax.vmap(lambda S: _at_least(S, region.least_noise))(policy.cov))
    else:
        policy, result = _unbounded(problem, old, noise)
        eta, epsilon = jnp.zeros(()), jnp.full((), jnp.inf)
    kl = jnp.sum(trajectory_kl(policy, old, problem.dynamics, problem.initial))
    predicted = expected - _expected(policy, problem)
    times = jnp.where(undone, before.undone + 1, 0.0)
    progress = Progress(multiplier, eta, problem.paid, predicted, times)
    return Improvement(policy, progress, kl, epsilon, expected, actual, Accepted(problem, old), undone, result)


def _costs(
    task: Task, units: LocalUnits, dynamics: LinearGaussian, xs: Float[Array, "T1 n"], us: Float[Array, "T m"]
) -> tuple[Quadratic, Quadratic]:
    """The cost along a trajectory, expanded to second order, as a function of numbers in `units`, convexified."""
    own = jax.vmap(lambda p: change_units(p, units.z.inverse, units.x.inverse))(dynamics)
    expansion = expand(Problem(TimeVarying(own), task), xs, us, second_order=False)
    z, x = units.z.scale, units.x.scale
    cost, final = expansion.cost, expansion.final
    scaled = Expansion(
        expansion.F,
        Quadratic(cost.C * z[None, :, None] * z[None, None], cost.c * z[None], cost.const),
        Quadratic(final.C * x[:, None] * x[None], final.c * x, final.const),
    )
    convex = convexified(scaled)
    values = trajectory_costs(task, xs, us, jnp.arange(us.shape[0]))
    zs = jax.vmap(units.z)(jnp.concatenate([xs[:-1], us], axis=1))
    stages = jax.vmap(_recentered)(convex.cost, zs, values[:-1])
    return stages, _recentered(convex.final, units.x(xs[-1]), values[-1])


def _recentered(q: Quadratic, z: Float[Array, "d"], value: Float[Array, ""]) -> Quadratic:
    """A quadratic of deviations from `z`, where it is `value`, as a quadratic of the whole vector."""
    C, c = symmetrize(q.C), q.c - q.C @ z
    return Quadratic(C, c, value - q.c @ z + 0.5 * z @ q.C @ z)


def _at_least(cov: Float[Array, "m m"], std: float) -> Float[Array, "m m"]:
    """The covariance with standard deviations of at least `std` in every direction."""
    values, vectors = jnp.linalg.eigh(symmetrize(cov))
    return symmetrize((vectors * jnp.maximum(values, std**2)[None]) @ vectors.T)


def _expected(policy: LinearGaussian, problem: LocalProblem) -> Float[Array, ""]:
    """The expected cost of an episode."""
    return jnp.sum(expected_costs(policy, problem.dynamics, problem.cost, problem.final, problem.initial))


def _unbounded(
    problem: LocalProblem, old: LinearGaussian, noise: Float[Array, "m"]
) -> tuple[LinearGaussian, Int[Array, ""]]:
    """The LQR controller of the fitted problem, slightly damped; the old one where there is none."""
    n, d = problem.final.c.shape[0], problem.cost.c.shape[1]
    curvature = jnp.maximum(jnp.max(jnp.abs(problem.cost.C)), jnp.max(jnp.abs(problem.final.C)))
    damping = jnp.diag(jnp.where(jnp.arange(d) < n, 0.0, DAMPING * curvature))
    cost = Quadratic(problem.cost.C + damping[None], problem.cost.c, problem.cost.const)
    solution = solve_lqr(problem.dynamics, cost, problem.final)
    spread = jnp.broadcast_to(jnp.diag(noise**2), old.cov.shape)
    policy = LinearGaussian(solution.policy.F, solution.policy.f, spread)
    usable = solution.result == Result.converged
    return jax.tree.map(lambda a, b: jnp.where(usable, a, b), policy, old), solution.result


def in_units(policies: LinearGaussian, units: LocalUnits, *, inverse: bool = False) -> LinearGaussian:
    """Controllers stacked [C T], in `units`; with `inverse` those in `units` in the units of the task."""
    x, u = (units.x.inverse, units.u.inverse) if inverse else (units.x, units.u)
    return jax.vmap(jax.vmap(lambda p: change_units(p, x, u)))(policies)
