"""Time-varying linear-Gaussian regression from a few rollouts: local dynamics, and linearized policies.

Problem, steps t = 0 .. T-1, N rollouts, inputs z_t [d], outputs y_t [e], points p_t = [z_t; y_t] [D], D = d + e:
    y_t | z_t ~ N(F_t z_t + f_t, cov_t)          dynamics: z = [x; u], y = x';   policy: z = x, y = u
The points of each step are Gaussian, p ~ N(mu, Sigma), with the normal-inverse-Wishart prior
    Sigma ~ InverseWishart(scale, dof),          mu | Sigma ~ N(mean, Sigma / mean_strength)
Given N points with mean pbar and scatter S = sum_i (p_i - pbar)(p_i - pbar)' the posterior has the same form:
    mean_strength_N = mean_strength + N          mean_N = (mean_strength mean + N pbar) / mean_strength_N
    dof_N = dof + N                              scale_N = scale + S + w (pbar - mean)(pbar - mean)'
    with w = mean_strength N / mean_strength_N   E[Sigma] = scale_N / (dof_N - D - 1)
Conditioning N(mean_N, E[Sigma]) on z gives the answer, with scale_N in blocks zz [d, d], yz [e, d], yy [e, e]:
    F = yz zz^-1,  f = mean_y - F mean_z,  cov = (yy - F yz') / (dof_N - D - 1)
F and f are also the posterior mean of a Bayesian linear regression on [z; 1] with the prior's precision and mean.
`NormalInverseWishart.around(p, strength)` counts as `strength` points: E[Sigma] is then the average of the prior's
covariance and of the covariance of the points, with weights `strength` and N.
Source: Gelman et al., Bayesian Data Analysis (2013), section 3.6 (posterior); Levine & Abbeel (2014), "Learning neural
network policies with guided policy search under unknown dynamics", section 3 (local dynamics with this prior).
Differs: cov is conditioned from E[Sigma]; its exact posterior mean has the divisor dof_N - e - 1.  mean_N is the
posterior mean, as in the publication; its code takes pbar.  The ridge is relative to the spread of the inputs; that of
the authors' code is 1e-6 in the units of the states.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from forethought.core import Gaussian, LinearGaussian, Result, UsageError, join
from forethought.core.linalg import cholesky, symmetrize


class NormalInverseWishart(eqx.Module):
    """A distribution over the mean and the covariance of a Gaussian over [D]; with a leading axis [T], one per step."""

    mean: Float[Array, "*T D"]
    scale: Float[Array, "*T D D"]  # positive semi-definite
    mean_strength: Float[Array, "*T"]  # number of points that the mean counts as
    dof: Float[Array, "*T"]  # degrees of freedom

    @staticmethod
    def around(
        p: Gaussian, strength: Float[Array, "*T"] | float, *, mean_strength: Float[Array, "*T"] | float | None = None
    ) -> "NormalInverseWishart":
        """The prior that expects the Gaussian(s) `p` and counts as `strength` points.

        `mean_strength`: number of points that the mean counts as; `strength` if None, and 0 for no prior on the mean.
        """
        D, dtype, stack = p.mean.shape[-1], p.mean.dtype, p.mean.shape[:-1]
        counts = jnp.broadcast_to(jnp.asarray(strength, dtype), stack)
        for_mean = counts if mean_strength is None else jnp.broadcast_to(jnp.asarray(mean_strength, dtype), stack)
        return NormalInverseWishart(p.mean, counts[..., None, None] * p.cov, for_mean, counts + D + 1)

    def update(self, points: Float[Array, "N D"]) -> "NormalInverseWishart":
        """The posterior given independent points; of one step (no leading axis)."""
        N = points.shape[0]
        center, rows = self._center(points), self._deviations(points)
        scale = symmetrize(self.scale + rows.T @ rows)
        return NormalInverseWishart(center, scale, self.mean_strength + N, self.dof + N)

    def expected(self) -> Gaussian:
        """The expected mean and the expected covariance, which is positive if `dof` > D + 1."""
        return Gaussian(self.mean, self.scale / (self.dof - self.mean.shape[-1] - 1)[..., None, None])

    def _center(self, points: Float[Array, "N D"]) -> Float[Array, "D"]:
        N = points.shape[0]
        return (self.mean_strength * self.mean + points.sum(0)) / (self.mean_strength + N)

    def _deviations(self, points: Float[Array, "N D"]) -> Float[Array, "N+1 D"]:
        """Rows r with sum r r' = scale_N - scale: the points from their mean, and this mean from the prior's."""
        N, average = points.shape[0], points.mean(0)
        weight = self.mean_strength * N / (self.mean_strength + N)
        return jnp.concatenate([points - average[None], jnp.sqrt(weight) * (average - self.mean)[None]])


class LocalFit(eqx.Module):
    """A time-varying linear-Gaussian conditional fitted to rollouts."""

    conditional: LinearGaussian  # stacked [T]
    result: Int[Array, ""]  # of core.Result; if it is not usable, the conditional is invalid


def fit_linear_gaussian(
    z: Float[Array, "N T d"],
    y: Float[Array, "N T e"],
    prior: NormalInverseWishart | None = None,
    *,
    regularization: float | None = None,
    varying: int = 0,
) -> LocalFit:
    """Regression of `y_t` on `z_t` at each step t, from N rollouts; under `jit`, and under `vmap` over conditions.

    Args:
        z, y: inputs and outputs of the rollouts; the dtype of the answer.
        prior: over [z_t; y_t], stacked [T]; None for least squares, with cov = residual squares / N.
        regularization: of a ridge, a variance relative to the input's own, averaged over the steps.  The slope along
            inputs, or combinations of them, that vary less is 0.  None: 0 with a prior; 1e-6 without one.
        varying: without a prior, how many of the last inputs must vary at each step: for dynamics the number of
            actions, whose effect is unknown otherwise.
    Returns:
        The fit.  Its result is `not_finite` for such data, `no_variation` where `varying` inputs do not vary, and
        `not_positive_definite` if the prior's scale is not, or its `dof + N <= D + 1`.
    Raises:
        UsageError: without a prior, N < d + 2, so that the inputs leave no residual.
        ValueError: the prior is over points of another size or another number of steps.
    """
    (N, T, d), D = z.shape, z.shape[2] + y.shape[2]
    if regularization is None:
        regularization = 1e-6 if prior is None else 0.0
    points, ridge, moves = jnp.concatenate([z, y], axis=2), N * regularization * typical_variance(z), jnp.array(True)
    if prior is None:
        _require_rollouts(N, d)
        prior = _no_prior(T, D, z.dtype)
        moves = jnp.all(N * z.var(axis=0)[:, d - varying :] > ridge[None, d - varying :])
    elif prior.mean.shape != (T, D):
        raise ValueError(f"fit_linear_gaussian: the prior must have a mean of shape {(T, D)}, not {prior.mean.shape}.")
    conditional = jax.vmap(lambda prior, points: _fit_step(prior, points, ridge), (0, 1))(prior, points)
    return LocalFit(conditional, _result(prior, points, conditional, moves))


def _fit_step(prior: NormalInverseWishart, points: Float[Array, "N D"], ridge: Float[Array, "d"]) -> LinearGaussian:
    """The posterior of one step, conditioned on its first d coordinates.

    The solution is refined once, because the normal equations square the condition number and the ridge biases it.
    cov is computed from the residuals, not as yy - F yz', so that a noise far below the spread of y is not lost.
    """
    (N, D), d = points.shape, ridge.shape[0]
    center, rows = prior._center(points), prior._deviations(points)
    scale = symmetrize(prior.scale + rows.T @ rows)
    factor = cholesky(scale[:d, :d] + jnp.diag(ridge)), True
    F = jsl.cho_solve(factor, scale[:d, d:]).T
    remaining = rows[:, :d].T @ (rows[:, d:] - rows[:, :d] @ F.T) + prior.scale[:d, d:] - prior.scale[:d, :d] @ F.T
    F = F + jsl.cho_solve(factor, remaining).T
    residuals = rows[:, d:] - rows[:, :d] @ F.T
    onto_residual = jnp.concatenate([-F, jnp.eye(D - d, dtype=F.dtype)], axis=1)
    squares = residuals.T @ residuals + onto_residual @ prior.scale @ onto_residual.T
    return LinearGaussian(F, center[d:] - F @ center[:d], symmetrize(squares) / (prior.dof + N - D - 1))


def model_prior(
    inputs: Gaussian, model: LinearGaussian, strength: float, *, mean_strength: float | None = None
) -> NormalInverseWishart:
    """The prior that expects `y | z` to follow `model`, for inputs spread as in `inputs`; both stacked [T].

    `model` can be the linearization of any global model along the mean trajectory
    (`forethought.dynamics.local_prior.prior_from_model`).  In a direction in which the rollouts do not vary, the fit
    has the slope of the model.
    """
    return NormalInverseWishart.around(jax.vmap(join)(inputs, model), strength, mean_strength=mean_strength)


def _no_prior(T: int, D: int, dtype: DTypeLike) -> NormalInverseWishart:
    """The improper prior whose posterior expects the mean and the covariance (divisor N) of the points."""
    none = jnp.zeros(T, dtype)
    return NormalInverseWishart(jnp.zeros((T, D), dtype), jnp.zeros((T, D, D), dtype), none, none + D + 1)


def typical_variance(z: Float[Array, "N T d"]) -> Float[Array, "d"]:
    """The variance of each coordinate between rollouts, averaged over the steps; 1 for one that is always the same."""
    variance = z.var(axis=0).mean(axis=0)
    rounding = (8 * jnp.finfo(z.dtype).eps) ** 2 * jnp.mean(z**2, axis=(0, 1))
    return jnp.where(variance > rounding, variance, 1)


def _result(prior: NormalInverseWishart, points, fit: LinearGaussian, moves: Bool[Array, ""]) -> Int[Array, ""]:
    """The outcome of a fit; `moves`: whether all inputs that must vary do so."""
    N, _, D = points.shape
    given = jnp.isfinite(points).all() & jnp.isfinite(prior.mean).all() & jnp.isfinite(prior.scale).all()
    finite = jnp.isfinite(fit.F).all() & jnp.isfinite(fit.f).all() & jnp.isfinite(fit.cov).all()
    positive = finite & jnp.all(prior.dof + N > D + 1) & jnp.all(jnp.diagonal(fit.cov, axis1=1, axis2=2) >= 0)
    result = jnp.where(moves, Result.converged, Result.no_variation)
    result = jnp.where(positive, result, Result.not_positive_definite)
    return jnp.where(given, result, Result.not_finite).astype(int)


def _require_rollouts(N: int, d: int) -> None:
    if N < d + 2:
        raise UsageError(
            f"A local fit without a prior needs at least {d + 2} rollouts for {d} inputs, and there are {N}: collect "
            "more rollouts, or use a prior."
        )
