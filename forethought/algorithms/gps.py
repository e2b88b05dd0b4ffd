"""Guided policy search: a network policy is trained on local controllers that stay close to it (mirror descent).

Symbols: C initial conditions, N rollouts of each, T steps; pi(u | x) = N(mu(x), S) the policy; p_i the controller of
initial condition i, N(K_t x + k_t, S_it); pibar_i the linearization of pi around the rollouts of condition i.
Each round, Algorithm 2 of the source:
    1  roll out pi (in the first round p_i) from every initial condition
    2  fit local dynamics, and linearize the policy: pibar_i
    3  C-step: p_i = argmin E[cost] subject to KL(p_i || pibar_i) <= epsilon
    4  S-step: pi = argmin sum_i,t E KL(pi || p_i)
              mu by regression on the means of p_i, weighted by precision;  S = inv(mean of inv(S_it))
    5  adapt epsilon by predicted against actual improvement of pi
Source: Montgomery & Levine (2016), "Guided policy search as approximate mirror descent", algorithm 2 and section 4.
Differs: the policy is linearized by its Jacobian, averaged over the rollouts, instead of a regression with a prior; for
Gaussian states both have one expectation (Stein's lemma), and the average needs no more rollouts than there are.  The
covariance of the policy is diagonal.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.algorithms.experience import require_at_least
from forethought.algorithms.local_improvement import in_units
from forethought.algorithms.local_models import LocalModels, LocalState, roots, split
from forethought.algorithms.local_record import Clock, metrics_of, notes
from forethought.algorithms.local_rollouts import Conditions, roll_out
from forethought.algorithms.protocol import Info
from forethought.core import Controller, LinearGaussian, NumericalFailure, Problem
from forethought.core.linalg import solve_psd, symmetrize
from forethought.core.precision import in_float64
from forethought.core.settings import settings
from forethought.envs.env import Env, spaces_of
from forethought.policies.acting import Acting
from forethought.policies.linear_gaussian import LinearGaussianController
from forethought.policies.network import GaussianPolicy, on_policy


@settings
class Imitation:
    """Settings of the network policy, and of its regression on the local controllers."""

    hidden: tuple[int, ...] = (64, 64)  # units in each hidden layer
    updates: int = 2000  # gradient steps in a round
    batch: int = 256  # states for a gradient
    learning_rate: float = 1e-3  # step size of Adam

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, updates=1, batch=1)
        if not self.learning_rate > 0:
            raise ValueError(f"Imitation.learning_rate must be positive, got {self.learning_rate}.")

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Adam."""
        return optax.adam(self.learning_rate)


class GPSState(eqx.Module):
    """The local controllers and models, the policy, and the memory of its optimizer."""

    local: LocalState
    policy: GaussianPolicy
    memory: Any


@settings
class GPS:
    """Guided policy search: a network policy is trained on local controllers that stay close to it."""

    local: LocalModels = LocalModels(conditions=Conditions(count=4))
    policy: Imitation = Imitation()
    on_policy: bool = True  # roll out the policy from the second round on; false: the local controllers

    def init(self, env: Env, *, key: PRNGKeyArray) -> GPSState:
        """Random local controllers and a policy that acts in the middle of the action range."""
        local_key, policy_key = jr.split(key)
        local = self.local.init(env, key=local_key)
        policy = on_policy(spaces_of(env), hidden=self.policy.hidden, normalize=True, who="GPS", key=policy_key)
        assert isinstance(policy, GaussianPolicy)  # the actions are a box
        std = jnp.asarray(self.local.noise_of(env.task.action_space.size), policy.log_std.dtype)
        policy = eqx.tree_at(lambda p: p.log_std, policy, jnp.log(std))
        return GPSState(local, policy, self.policy.optimizer.init(eqx.filter(policy.network, eqx.is_inexact_array)))

    def iterate(self, state: GPSState, env: Env, *, key: PRNGKeyArray) -> tuple[GPSState, Info]:
        """Algorithm 2: lines as in the head of this file."""
        act_key, fit_key, train_key = jr.split(key, 3)
        clock, first = Clock(), int(state.local.rounds) == 0
        controllers, noise = self._explorers(state, local=first or not self.on_policy)
        rollouts, episodes = roll_out(self.local.conditions, env, controllers, noise, key=act_key)  # line 1
        clock.stop("rollouts_s")
        fitted, problems, error = self.local.fit(state.local, rollouts, env, key=fit_key)  # line 2
        linearized = state.local.policies if first else _linearized(state.policy, jnp.asarray(rollouts.xs[:, :, :-1]))
        clock.stop("fit_s")
        with jax.enable_x64(True):
            old = in_units(in_float64(linearized), in_float64(fitted.units))
            local, step = self.local.improve(fitted, problems, old)  # lines 3 and 5
        clock.stop("step_s")
        xs = jnp.asarray(rollouts.xs[:, :, :-1])
        policy, memory, loss = _train(self.policy, state.policy, state.memory, local.policies, xs, train_key)  # line 4
        if not jnp.isfinite(loss):
            raise NumericalFailure("the regression of the policy diverged: lower --policy.learning-rate.")
        clock.stop("policy_s")
        numbers = metrics_of(step, episodes)
        metrics = {"model_error": error, **numbers, "policy_loss": float(loss), **clock.spent}
        return GPSState(local, policy, memory), Info(episodes, metrics, notes(step))

    def problem(self, state: GPSState, env: Env) -> Problem:
        """The task with the local dynamics, each near its own trajectory."""
        return self.local.problem(state.local, env)

    def controller(self, state: GPSState, env: Env) -> Controller:
        """The policy, without noise."""
        del env
        return Acting(state.policy, mode=True)

    def _explorers(self, state: GPSState, *, local: bool) -> tuple[list[Controller], Float[Array, "C T m m"]]:
        """The controllers of the rollouts, and factors of the covariances of their noise."""
        policies = state.local.policies
        if local:
            return [LinearGaussianController(one) for one in split(policies)], roots(policies.cov)
        std = state.policy.box.half_range * jnp.exp(state.policy.log_std)
        noise = jnp.broadcast_to(jnp.diag(std), policies.cov.shape)
        return [Acting(state.policy, mode=True)] * policies.f.shape[0], noise


@jax.jit
def _linearized(policy: GaussianPolicy, xs: Float[Array, "C N T n"]) -> LinearGaussian:
    """The policy around the states of every condition and step, stacked [C T].

    The covariance is the policy's, and that of the residuals of the linearization.
    """

    def at_step(xs: Float[Array, "N n"]) -> LinearGaussian:
        mean = lambda x: policy(x).mean  # noqa: E731
        us, F = jax.vmap(mean)(xs), jnp.mean(jax.vmap(jax.jacrev(mean))(xs), axis=0)
        f = jnp.mean(us, axis=0) - F @ jnp.mean(xs, axis=0)
        residuals = us - xs @ F.T - f[None]
        noise = jnp.diag(policy(xs[0]).std ** 2)
        return LinearGaussian(F, f, noise + symmetrize(residuals.T @ residuals) / xs.shape[0])

    return jax.vmap(jax.vmap(at_step))(jnp.swapaxes(xs, 1, 2))


@eqx.filter_jit
def _train(
    how: Imitation,
    policy: GaussianPolicy,
    memory: Any,
    local: LinearGaussian,
    xs: Float[Array, "C N T n"],
    key: PRNGKeyArray,
) -> tuple[GaussianPolicy, Any, Float[Array, ""]]:
    """The S-step; also returns the mean weighted squared error over the last tenth of the updates.

    Errors count in half ranges of the actions, weighted by the precision of the local controllers relative to its mean.
    """
    half = policy.box.half_range
    means = jnp.einsum("ctmn,cktn->cktm", local.F, xs) + local.f[:, None]
    targets = jax.vmap(policy.box.clip)(means.reshape(-1, half.shape[0]))
    eye = jnp.eye(half.shape[0])
    precisions = jax.vmap(jax.vmap(lambda S: solve_psd(S / (half[:, None] * half[None]), eye)))(local.cov)
    mean_precision = jnp.mean(precisions, axis=(0, 1))
    weights = precisions * half.shape[0] / jnp.trace(mean_precision)
    weights = jnp.broadcast_to(weights[:, None], (*xs.shape[:3], *weights.shape[2:])).reshape(-1, *weights.shape[2:])
    states = xs.reshape(-1, xs.shape[-1])
    policy = policy.seen(states)
    trained, rest = eqx.partition(policy.network, eqx.is_inexact_array)

    def loss(trained: Any, rows: Array) -> Float[Array, ""]:
        current = eqx.tree_at(lambda p: p.network, policy, eqx.combine(trained, rest))
        gaps = (jax.vmap(lambda x: current(x).mean)(states[rows]) - targets[rows]) / half[None]
        return jnp.mean(jnp.einsum("bi,bij,bj->b", gaps, weights[rows], gaps))

    def update(carry: Any, key: PRNGKeyArray) -> tuple[Any, Float[Array, ""]]:
        trained, memory = carry
        value, gradient = jax.value_and_grad(loss)(trained, jr.randint(key, (how.batch,), 0, states.shape[0]))
        change, memory = how.optimizer.update(gradient, memory, trained)
        return (optax.apply_updates(trained, change), memory), value

    (trained, memory), losses = jax.lax.scan(update, (trained, memory), jr.split(key, how.updates))
    log_std = -0.5 * jnp.log(jnp.diagonal(mean_precision))
    after = eqx.tree_at(lambda p: (p.network, p.log_std), policy, (eqx.combine(trained, rest), log_std))
    return after, memory, jnp.mean(losses[-max(1, how.updates // 10) :])
