"""The trust-region step of local models: the best linear-Gaussian controller within a KL divergence of the old one.

Problem, t = 0 .. T-1, z_t = [x_t; u_t] [d], d = n + m; p(tau) and p_old(tau) have the same dynamics and initial states:
    minimize    E_p [ sum_t q_t(z_t) + q_T(x_T) ] - temperature * sum_t E_p H(p(u_t | x_t))
    subject to  KL(p(tau) || p_old(tau)) <= epsilon                                           [nats]
    where       x_{t+1} ~ N(F_t z_t + f_t, cov_t),  u_t ~ N(K_t x_t + k_t, S_t)
The dynamics cancel in log(p / p_old), so that
    KL(p(tau) || p_old(tau)) = sum_t E_{x_t ~ p} KL(p(u_t | x_t) || p_old(u_t | x_t))         `trajectory_kl`
The Lagrangian with multiplier eta (the lambda of many texts) is, up to a constant,
    E_p [ sum_t q_t - eta log p_old(u_t | x_t) ] - (eta + temperature) sum_t E_p H(p(u_t | x_t))
and maximum-entropy LQR minimizes it: with Q_t of the surrogate cost q_t - eta log p_old(u_t | x_t),
    K_t, k_t = argmin_u Q_t,    S_t = (eta + temperature) inv(Q_uu,t)                         `penalized_step`
With temperature = 0 this is the surrogate cost q_t / eta - log p_old, multiplied by eta: the multiplied form has no
division by a small eta.  eta -> infinity gives the old controller; eta -> 0 gives the LQR controller.
The KL divergence decreases in eta; `constrained_step` finds the eta at which it is epsilon.
Source: Levine & Abbeel (2014), "Learning neural network policies with guided policy search under unknown dynamics",
section 3, and the authors' code for the search for eta and the step size.
Differs: the surrogate cost is multiplied by eta; eta is interpolated where this is safe, instead of always being the
geometric mean of its bracket; an eta for which some Q_uu is not positive definite counts as too small; a constraint
that is inactive at the lowest eta counts as converged; the temperature.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from forethought.core import Gaussian, LinearGaussian, Quadratic, Result, expected_kl, join, push_forward
from forethought.core.linalg import solve_psd, symmetrize
from forethought.planning.dual_ascent import DualHistory, Minimum, bracket_multiplier
from forethought.planning.lqr import LQRSolution, solve_lqr

LOWEST_ETA, HIGHEST_ETA = 1e-8, 1e16
ITERATIONS = 50  # most LQR solutions of one step
LEAST_LOSS = 1e-4  # least difference of predicted and actual improvement, in units of cost
ONE_CHANGE = (0.1, 5.0)  # range of the factor by which the step size changes at once
ALL_CHANGES = (0.01, 10.0)  # range of the step-size multiplier


class TrustRegionStep(eqx.Module):
    """The new controller and its predictions under the given dynamics.

    If the result is not usable, `policy` is the old controller, `kl` is 0, and `expected_cost` is NaN.
    """

    policy: LinearGaussian  # stacked [T], over x
    eta: Float[Array, ""]  # the multiplier, cost per nat
    kl: Float[Array, "T"]  # E KL(p(u_t | x_t) || p_old(u_t | x_t)), nats
    expected_cost: Float[Array, "T1"]  # of every step, and the final cost
    iterations: Int[Array, ""]  # LQR solutions
    history: DualHistory  # multiplier eta, primal and dual cost, and the sum of kl less epsilon
    result: Int[Array, ""]  # of core.Result


def constrained_step(
    dynamics: LinearGaussian,
    cost: Quadratic,
    final: Quadratic,
    old: LinearGaussian,
    initial: Gaussian,
    epsilon: Float[Array, ""] | float,
    *,
    eta: Float[Array, ""] | float = 1.0,
    temperature: Float[Array, ""] | float = 0.0,
    tolerance: Float[Array, ""] | float = 0.1,
) -> TrustRegionStep:
    """The controller of least expected cost with `KL(p || p_old) <= epsilon`.

    Args:
        dynamics: stacked [T], over `[x; u]`.
        cost: stacked [T], over `[x; u]`; it need not be convex, since a large eta makes the surrogate cost convex.
        final: over x.
        old: the old controller, stacked [T], over x; its covariances must be positive definite.
        initial: the initial states; the covariance may be zero.
        epsilon: largest KL divergence of the trajectory distributions, nats, positive.
        eta: where the search for the multiplier starts: the last step's.
        temperature: weight of the entropy, cost per nat.  The exploration of an unconstrained step then costs
            `temperature * m / 2` for each step, and its covariance does not collapse to zero.
        tolerance: largest |KL - epsilon| / epsilon.
    Returns:
        the step.  Its result is `converged` within the tolerance, or with a smaller KL at the lowest eta (1e-8), where
        the constraint is inactive; `budget_exhausted` with a smaller KL; `infeasible` if KL > epsilon at the highest
        eta (1e16), as for epsilon <= 0; `not_positive_definite` if a covariance of `old` or, at the highest eta, a
        `Q_uu` is not; `not_finite` if the problem is not.  In float32 rounding errors of the KL divergence may exceed
        a small epsilon, above all with unstable dynamics: compute in float64 there.
    """
    dtype = old.f.dtype
    epsilon, eta = jnp.asarray(epsilon, dtype), jnp.asarray(eta, dtype)
    departure = jax.vmap(negative_log_likelihood)(old)

    def minimize(eta: Float[Array, ""]) -> Minimum:
        solution = _penalized(dynamics, cost, final, departure, eta, temperature)
        marginals = state_marginals(solution.policy, dynamics, initial)
        kl = _kl(solution.policy, old, marginals)
        costs = _costs(solution.policy, cost, final, marginals)
        allowed = jnp.where(solution.result == Result.converged, jnp.sum(kl) - epsilon, jnp.inf)
        return Minimum((solution.policy, kl, costs, solution.result), jnp.sum(costs), allowed)

    found = bracket_multiplier(
        minimize,
        eta,
        scale=jnp.abs(epsilon),
        tolerance=tolerance,
        lowest=LOWEST_ETA,
        highest=HIGHEST_ETA,
        iterations=ITERATIONS,
    )
    policy, kl, costs, solved = found.minimum.x
    result = jnp.where((found.result == Result.not_finite) & (solved != Result.converged), solved, found.result)
    result = jnp.where(jnp.all(jnp.isfinite(departure.C)), result, int(Result.not_positive_definite))
    result = jnp.where(_finite((dynamics, cost, final, old, initial, epsilon)), result, int(Result.not_finite))
    usable = (result == Result.converged) | (result == Result.budget_exhausted)
    unchanged = old, jnp.zeros_like(kl), jnp.full_like(costs, jnp.nan)
    policy, kl, costs = jax.tree.map(lambda a, b: jnp.where(usable, a, b), (policy, kl, costs), unchanged)
    return TrustRegionStep(policy, found.multiplier, kl, costs, found.iterations, found.history, result)


def penalized_step(
    dynamics: LinearGaussian,
    cost: Quadratic,
    final: Quadratic,
    old: LinearGaussian,
    eta: Float[Array, "*T"] | float,
    *,
    temperature: Float[Array, ""] | float = 0.0,
) -> LQRSolution:
    """The controller that minimizes E[cost] + eta KL(p || p_old) - temperature H(p), for a given eta.

    `eta` [] weighs the KL divergence of all steps; [T] weighs each step's.  The values are those of the surrogate cost,
    without the entropies.
    """
    return _penalized(dynamics, cost, final, jax.vmap(negative_log_likelihood)(old), eta, temperature)


def trajectory_kl(
    new: LinearGaussian, old: LinearGaussian, dynamics: LinearGaussian, initial: Gaussian
) -> Float[Array, "T"]:
    """`KL(p || p_old)` of the distributions over trajectories under two controllers, in nats; the sum is the total.

    Args:
        new, old: the controllers, stacked [T], over x, with positive definite covariances.
        dynamics: stacked [T], over `[x; u]`; the same for both.
        initial: the initial states.
    Returns:
        the contribution of each step, `E_{x_t ~ p} KL(p(u_t | x_t) || p_old(u_t | x_t))`.
    Source: Levine & Abbeel (2014), section 3.
    """
    return _kl(new, old, state_marginals(new, dynamics, initial))


def state_marginals(policy: LinearGaussian, dynamics: LinearGaussian, initial: Gaussian) -> Gaussian:
    """The distributions of the states x_0 .. x_T, stacked [T+1], under a controller stacked [T]."""
    closed = jax.vmap(closed_loop)(policy, dynamics)
    last, before = jax.lax.scan(lambda p, model: (push_forward(p, model), p), initial, closed)
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), before, last)


def closed_loop(policy: LinearGaussian, dynamics: LinearGaussian) -> LinearGaussian:
    """The distribution of the next state given the state x, when the action is a sample of the policy; of one step."""
    n = dynamics.F.shape[0]
    A, B = dynamics.F[:, :n], dynamics.F[:, n:]
    cov = symmetrize(B @ policy.cov @ B.T + dynamics.cov)
    return LinearGaussian(A + B @ policy.F, B @ policy.f + dynamics.f, cov)


def expected_costs(
    policy: LinearGaussian, dynamics: LinearGaussian, cost: Quadratic, final: Quadratic, initial: Gaussian
) -> Float[Array, "T1"]:
    """The expected cost of each step, and the final cost, under a controller stacked [T]."""
    return _costs(policy, cost, final, state_marginals(policy, dynamics, initial))


def negative_log_likelihood(policy: LinearGaussian) -> Quadratic:
    """`-log p(u | x)` of a linear-Gaussian controller, as a quadratic over `[x; u]`.

    Its Hessian is NaN if the covariance is not positive definite.
    """
    m, n = policy.F.shape
    residual = jnp.concatenate([-policy.F, jnp.eye(m, dtype=policy.F.dtype)], axis=1)  # u - K x = residual z
    weighted = solve_psd(policy.cov, jnp.concatenate([residual, policy.f[:, None]], axis=1))
    at_zero = LinearGaussian(jnp.zeros_like(policy.F), policy.f, policy.cov)(jnp.zeros(n, policy.F.dtype))
    return Quadratic(
        symmetrize(residual.T @ weighted[:, :-1]),
        -residual.T @ weighted[:, -1],
        -at_zero.log_prob(jnp.zeros(m, policy.F.dtype)),
    )


def next_step_size(
    multiplier: Float[Array, ""] | float,
    predicted: Float[Array, ""] | float,
    actual: Float[Array, ""] | float,
    *,
    least_loss: float = LEAST_LOSS,
) -> Float[Array, ""]:
    """The multiplier of epsilon for the next step, from how much of the predicted improvement was real.

    Let the improvement of a step of size s be a s - b s^2, with the prediction a s.  The loss of the step that was
    taken, predicted - actual = b s^2, gives b; the best size is a / (2 b) = s * predicted / (2 (predicted - actual)).

    Args:
        multiplier: the last one; epsilon is proportional to it.
        predicted: the decrease of the expected cost under the model.
        actual: the decrease of the cost that was measured.
        least_loss: lower bound of predicted - actual, in units of cost.
    Returns:
        the next one.  The factor is limited to [0.1, 5], the multiplier to [0.01, 10].  Nothing predicted, an increase
        of the cost predicted, or a number that is not finite gives the factor 0.1.
    Source: Levine & Abbeel (2014), the authors' code.
    """
    predicted, actual = jnp.asarray(predicted), jnp.asarray(actual)
    factor = predicted / (2 * jnp.maximum(least_loss, predicted - actual))
    factor = jnp.where(jnp.isfinite(factor), factor, 0)
    return jnp.clip(multiplier * jnp.clip(factor, *ONE_CHANGE), *ALL_CHANGES)


def _finite(values) -> Bool[Array, ""]:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(values)]))


def _penalized(dynamics, cost, final, departure: Quadratic, eta, temperature) -> LQRSolution:
    weights = jnp.broadcast_to(jnp.asarray(eta, cost.c.dtype), cost.const.shape)
    add = lambda q, change: q + weights.reshape(-1, *[1] * (q.ndim - 1)) * change  # noqa: E731
    surrogate = jax.tree.map(add, cost, departure)
    solution = solve_lqr(dynamics, surrogate, final, max_entropy=True)
    policy = solution.policy
    cov = (weights + temperature)[:, None, None] * policy.cov
    return LQRSolution(LinearGaussian(policy.F, policy.f, cov), solution.values, solution.result)


def _kl(new: LinearGaussian, old: LinearGaussian, marginals: Gaussian) -> Float[Array, "T"]:
    return jax.vmap(expected_kl)(new, old, jax.tree.map(lambda a: a[:-1], marginals))


def _costs(policy: LinearGaussian, cost: Quadratic, final: Quadratic, marginals: Gaussian) -> Float[Array, "T1"]:
    before, last = jax.tree.map(lambda a: a[:-1], marginals), jax.tree.map(lambda a: a[-1], marginals)
    stages = jax.vmap(lambda q, p, controller: q.expectation(join(p, controller)))(cost, before, policy)
    return jnp.concatenate([stages, final.expectation(last)[None]])
