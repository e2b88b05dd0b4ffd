"""Local models: LQR through linear dynamics that are fitted around the current trajectory, within a KL trust region.

No global model is needed: after a few rollouts from an initial condition, the dynamics are fitted at every time step,
and the controller is improved only as far as this fit can be trusted.
Source: Levine & Abbeel (2014), "Learning neural network policies with guided policy search under unknown dynamics",
section 3; called LQR-FLM in the authors' code.
Differs: see `forethought.algorithms.local_improvement`; the dynamics are those of the actions that the controller asks
for, so that the action limits are a part of them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.experience import require_at_least
from forethought.algorithms.local_improvement import (
    Accepted,
    Improvement,
    LocalProblem,
    LocalUnits,
    Progress,
    TrustRegion,
    improve,
    in_units,
    local_problem,
)
from forethought.algorithms.local_priors import MixturePrior, Prior
from forethought.algorithms.local_record import Clock, metrics_of, notes, require_usable
from forethought.algorithms.local_rollouts import Conditions, Rollouts, no_rollouts, roll_out
from forethought.algorithms.local_task import local_task, require_task
from forethought.algorithms.protocol import Info
from forethought.core import Controller, Gaussian, LinearGaussian, Problem, Quadratic, Task, UsageError
from forethought.core.data import AnyArray
from forethought.core.linalg import psd_sqrt
from forethought.core.precision import in_float32, in_float64
from forethought.core.protocols import box_of
from forethought.core.settings import settings
from forethought.core.units import Units, change_units
from forethought.dynamics.time_varying import NearestLocal
from forethought.envs.env import Env
from forethought.policies.linear_gaussian import LinearGaussianController
from forethought.policies.nearest import NearestController


class LocalState(eqx.Module):
    """The local controllers and models of C conditions; controllers and dynamics in the units of the task."""

    policies: LinearGaussian  # stacked [C T], over x
    dynamics: LinearGaussian  # stacked [C T], over [x; u]: of the last round
    xs: Float[Array, "C T1 n"]  # mean trajectories of the last round
    units: LocalUnits  # of all computations, from the first round
    progress: Progress
    accepted: Accepted  # stacked [C], in `units`: what the last step was made from
    kept: Rollouts  # the last rollouts, for the prior
    prior: Any
    rounds: Int[Array, ""]


@settings
class LocalModels:
    """Settings of LQR with fitted local models."""

    conditions: Conditions = Conditions()
    prior: Prior = MixturePrior()
    region: TrustRegion = TrustRegion()
    noise: tuple[float, ...] = (0.5,)  # std of the first actions, share of half the action range; of all, or of each
    kept: int = 20  # last rollouts of each condition that the prior is fitted to
    final_weight: float = 1.0  # factor on the cost of the last state

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, kept=1, final_weight=0)
        if not all(std > 0 for std in self.noise):
            raise ValueError(f"LocalModels.noise must be positive, got {self.noise}.")

    def init(self, env: Env, *, key: PRNGKeyArray) -> LocalState:
        """Controllers that act at random around the middle of the action range; no data.

        Raises:
            UsageError: a task or settings that local models cannot work with.
        """
        box = require_task(env, "LocalModels")
        n, m, (C, T) = env.space.size, box.size, (self.conditions.number(env), env.task.horizon)
        self.prior.require_samples(self.conditions.samples, n, m)
        cov = jnp.diag((self.noise_of(m) * box.half_range) ** 2)
        policies = LinearGaussian(
            jnp.zeros((C, T, m, n)),
            jnp.broadcast_to(box.center, (C, T, m)),
            jnp.broadcast_to(cov, (C, T, m, m)),
        )
        dynamics = LinearGaussian(jnp.zeros((C, T, n, n + m)), jnp.zeros((C, T, n)), jnp.zeros((C, T, n, n)))
        return LocalState(
            policies,
            dynamics,
            jnp.zeros((C, T + 1, n)),
            LocalUnits(Units(jnp.zeros(n), jnp.ones(n)), Units(box.center, box.half_range)),
            Progress.none(C),
            _no_problem(policies),
            no_rollouts(self.conditions, env),
            self.prior.init(n, m, key=key),
            jnp.zeros((), jnp.int32),
        )

    def iterate(self, state: LocalState, env: Env, *, key: PRNGKeyArray) -> tuple[LocalState, Info]:
        """Roll out, fit, improve."""
        act_key, fit_key = jr.split(key)
        clock = Clock()
        controllers = [LinearGaussianController(one) for one in split(state.policies)]
        rollouts, episodes = roll_out(self.conditions, env, controllers, roots(state.policies.cov), key=act_key)
        clock.stop("rollouts_s")
        fitted, problems, error = self.fit(state, rollouts, env, key=fit_key)
        clock.stop("fit_s")
        with jax.enable_x64(True):
            old = in_units(in_float64(state.policies), in_float64(fitted.units))
            after, step = self.improve(fitted, problems, old, in_float64(state.accepted))
        clock.stop("step_s")
        metrics = {"model_error": error, **metrics_of(step, episodes), **clock.spent}
        return after, Info(episodes, metrics, notes(step))

    def fit(
        self, state: LocalState, rollouts: Rollouts, env: Env, *, key: PRNGKeyArray
    ) -> tuple[LocalState, LocalProblem, float | None]:
        """Dynamics and costs around the rollouts.

        Returns:
            the state with them, the local problems (stacked [C], in the state's units, float64), and the error of the
            last round's dynamics on the rollouts.
        Raises:
            NumericalFailure: a fit has no usable answer.
        """
        first = int(state.rounds) == 0
        units = LocalUnits.of(jnp.asarray(rollouts.rows[1]), box_of(env.task)) if first else state.units
        kept = state.kept.joined(rollouts, self.kept)
        error = None if first else float(_error(state.dynamics, jnp.asarray(rollouts.xs), jnp.asarray(rollouts.us)))
        with jax.enable_x64(True):
            wide = in_float64(units)
            memory = self.prior.fit(state.prior, *_scaled(wide, kept.rows), key=key)
            priors = self.prior.at(memory, *_scaled(wide, rollouts.pairs))
            task = local_task(env, self.final_weight)
            problems, own = _fit(task, wide, in_float64(rollouts), priors, self.prior.regularization)
            require_usable(problems.result)
        after = LocalState(
            state.policies,
            *in_float32((own, problems.xs)),
            units,
            state.progress,
            state.accepted,
            kept,
            in_float32(memory),
            state.rounds + 1,
        )
        return after, problems, error

    def improve(
        self, state: LocalState, problems: LocalProblem, old: LinearGaussian, last: Accepted | None = None
    ) -> tuple[LocalState, Improvement]:
        """The state with better controllers, and every condition's step from `old`, stacked [C T], in its units.

        `last`: what the last step was made from, if it may be taken back.
        """
        units = in_float64(state.units)
        noise = jnp.asarray(self.noise_of(old.f.shape[-1]))
        step, policies = _improve(self.region, problems, old, noise, in_float64(state.progress), units, last)
        done = policies, step.progress, step.accepted
        return eqx.tree_at(lambda s: (s.policies, s.progress, s.accepted), state, in_float32(done)), step

    def noise_of(self, m: int) -> Float[np.ndarray, "m"]:
        """The standard deviation of each of m actions under the initial controllers, in half ranges.

        Raises:
            UsageError: `noise` has another number of values than 1 or m.
        """
        if len(self.noise) not in (1, m):
            raise UsageError(f"noise has {len(self.noise)} values for {m} actions: give 1 for all, or {m}.")
        return np.broadcast_to(np.asarray(self.noise), (m,))

    def problem(self, state: LocalState, env: Env) -> Problem:
        """The task with the local dynamics, each near its own trajectory."""
        dynamics = NearestLocal(state.dynamics, state.xs, state.units.x.scale)
        return Problem(dynamics, local_task(env, self.final_weight))

    def controller(self, state: LocalState, env: Env) -> Controller:
        """The mean of the local controller whose initial state is nearest to that of the episode."""
        return NearestController(state.policies, state.xs[:, 0], state.units.x.scale, box_of(env.task))


def split(policies: LinearGaussian) -> list[LinearGaussian]:
    """Controllers stacked [C T], one by one."""
    return [jax.tree.map(lambda a, c=c: a[c], policies) for c in range(policies.f.shape[0])]


def _no_problem(policies: LinearGaussian) -> Accepted:
    """Before the first round; zeros of the right shapes."""
    C, T, m, n = policies.F.shape
    zeros, d = jnp.zeros, n + m
    dynamics = LinearGaussian(zeros((C, T, n, d)), zeros((C, T, n)), zeros((C, T, n, n)))
    cost = Quadratic(zeros((C, T, d, d)), zeros((C, T, d)), zeros((C, T)))
    final = Quadratic(zeros((C, n, n)), zeros((C, n)), zeros(C))
    initial, count = Gaussian(zeros((C, n)), zeros((C, n, n))), zeros(C, jnp.int32)
    return Accepted(
        LocalProblem(dynamics, cost, final, initial, zeros((C, T + 1, n)), zeros(C), zeros(C), count), policies
    )


@jax.jit
def roots(covs: Float[Array, "C T m m"]) -> Float[Array, "C T m m"]:
    """Factors of covariances."""
    return jax.vmap(jax.vmap(psd_sqrt))(covs)


def _scaled(units: LocalUnits, pairs: tuple[AnyArray, AnyArray]) -> tuple[Float[Array, "*k d"], Float[Array, "*k n"]]:
    """Rows of z and of x' in these units, float64."""
    return _in_units(units, *in_float64(pairs))


@jax.jit
def _in_units(units: LocalUnits, z: Array, y: Array) -> tuple[Array, Array]:
    flat = (jax.vmap(one)(a.reshape(-1, a.shape[-1])) for one, a in ((units.z, z), (units.x, y)))
    scaled_z, scaled_y = flat
    return scaled_z.reshape(z.shape), scaled_y.reshape(y.shape)


@eqx.filter_jit
def _fit(
    task: Task, units: LocalUnits, rollouts: Rollouts, priors: Any, regularization: float
) -> tuple[LocalProblem, LinearGaussian]:
    """The local problems, stacked [C], and their dynamics in the units of the task."""
    fit = lambda xs, us, prior: local_problem(task, units, xs, us, prior, regularization)  # noqa: E731
    problems = jax.vmap(fit)(rollouts.xs, rollouts.us, priors)
    own = jax.vmap(jax.vmap(lambda p: change_units(p, units.z.inverse, units.x.inverse)))(problems.dynamics)
    return problems, own


@eqx.filter_jit
def _improve(
    region: TrustRegion,
    problems: LocalProblem,
    old: LinearGaussian,
    noise: Float[Array, "m"],
    progress: Progress,
    units: LocalUnits,
    last: Accepted | None,
) -> tuple[Improvement, LinearGaussian]:
    """The steps, stacked [C], and the new controllers in the units of the task."""
    one = lambda problem, old, before, last: improve(region, problem, old, noise, before, last)  # noqa: E731
    steps = jax.vmap(one)(problems, old, progress, last)
    return steps, in_units(steps.policy, units, inverse=True)


@jax.jit
def _error(dynamics: LinearGaussian, xs: Float[Array, "C N T1 n"], us: Float[Array, "C N T m"]) -> Float[Array, ""]:
    """Root mean square error of one-step predictions, in standard deviations of the changes of each coordinate."""
    x, y = xs[:, :, :-1], xs[:, :, 1:]
    z = jnp.concatenate([x, us], axis=-1)
    predicted = jnp.einsum("ctnd,cktd->cktn", dynamics.F, z) + dynamics.f[:, None]
    errors, changes, levels = (a.reshape(-1, x.shape[-1]) for a in (predicted - y, y - x, x))
    std = jnp.std(changes, axis=0)
    moves = std > 1e-6 * jnp.maximum(1, jnp.max(jnp.abs(levels), axis=0))
    relative = errors * jnp.where(moves, 1 / jnp.where(moves, std, 1), 0)[None]
    return jnp.sqrt(jnp.sum(relative**2) / jnp.maximum(jnp.sum(moves) * errors.shape[0], 1))
