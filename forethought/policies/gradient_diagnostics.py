"""Whether gradients through imagined rollouts can be trusted: size and spread by horizon, and error by their number.

The gradient of a cost H steps ahead contains the product of H closed-loop Jacobians
    J_t = d x_{t+1} / d x_t = F_x + F_u d pi / d x.
Where their spectral radius stays above 1 the product, and with it the gradient and its variance, grows exponentially
with the horizon; below 1 the gradient vanishes.

An estimate g from N rollouts through a learned model has the error, against the true gradient g*,
    E |g - g*|^2 = |E g - g*|^2 + tr cov(g),   the squared bias and the variance,
of which only the variance falls with N, as 1 / N: the bias is the model's, and grows with the length of the rollouts.
Source: Parmas et al. (2018), section 2.4; Bengio, Simard & Frasconi (1994).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Dynamics
from forethought.policies.imagined import Act, Estimator, Imagination, policy_gradient


class GradientByHorizon(NamedTuple):
    """One row for each horizon."""

    horizon: np.ndarray  # steps
    norm: Float[np.ndarray, "H"]  # of the mean gradient
    std: Float[np.ndarray, "H"]  # of one particle's gradient: root of the variance summed over parameters
    score_share: Float[np.ndarray, "H"]  # of the mixed estimate


def gradient_by_horizon(
    imagination: Imagination,
    theta: Any,
    x0s: Float[Array, "P n"],
    horizons: Sequence[int],
    *,
    estimator: Estimator = "pathwise",
    key: PRNGKeyArray,
) -> GradientByHorizon:
    """Norm and spread of the policy's gradient for each of several horizons; each compiles once."""
    rows = []
    for steps in horizons:
        found = _gradient(replace(imagination, steps=int(steps)), theta, x0s, estimator, key)
        rows.append([float(found.norm), float(found.variance) ** 0.5, float(found.score_share)])
    return GradientByHorizon(np.asarray(horizons), *np.asarray(rows, float).T)


@eqx.filter_jit
def _gradient(imagination: Imagination, theta: Any, x0s: Array, estimator: Estimator, key: PRNGKeyArray):
    return policy_gradient(imagination, theta, x0s, estimator=estimator, key=key)


class JacobianGrowth(NamedTuple):
    """Along a trajectory of T steps."""

    radius: Float[np.ndarray, "T"]  # spectral radius of the closed-loop Jacobian at each step
    product: Float[np.ndarray, "T"]  # largest singular value of the product of the Jacobians so far


def jacobian_growth(dynamics: Dynamics, act: Act, theta: Any, xs: Float[Array, "T n"]) -> JacobianGrowth:
    """How a small deviation grows along the states `xs` under the policy `act(theta, x)`, by the mean dynamics."""
    Js = np.asarray(_jacobians(dynamics, act, theta, xs), np.float64)
    radius = np.array([np.max(np.abs(np.linalg.eigvals(J))) for J in Js])
    products, so_far = [], np.eye(Js.shape[1])
    for J in Js:
        so_far = J @ so_far
        products.append(np.linalg.norm(so_far, 2))
    return JacobianGrowth(radius, np.array(products))


@eqx.filter_jit
def _jacobians(dynamics: Dynamics, act: Act, theta: Any, xs: Float[Array, "T n"]) -> Float[Array, "T n n"]:
    def after(x: Array, t: Array) -> Array:
        return dynamics(x, act(theta, x), t).mean

    return jax.vmap(jax.jacfwd(after))(xs, jnp.arange(xs.shape[0]))


@eqx.filter_jit
def gradient_samples(
    imagination: Imagination,
    theta: Any,
    starts: Float[Array, "S n"],
    *,
    block: int,
    count: int,
    estimator: Estimator = "pathwise",
    key: PRNGKeyArray,
) -> Float[Array, "count k"]:
    """Independent estimates of the gradient, flattened; the mean of j of them is an estimate from j times the rollouts.

    Args:
        imagination: the problem, the policy, the length of a rollout.
        theta: parameters of the policy, k numbers together.
        starts: states of which each rollout starts in one.
        block: rollouts of an estimate, a multiple of an ensemble's members.
        count: how many estimates.
        estimator: as in `policy_gradient`.
        key: random key.
    """

    def one(key: PRNGKeyArray) -> Array:
        start_key, roll_key = jr.split(key)
        x0s = starts[jr.randint(start_key, (block,), 0, starts.shape[0])]
        found = policy_gradient(imagination, theta, x0s, estimator=estimator, key=roll_key)
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(found.gradient)])

    return jax.lax.map(one, jr.split(key, count))


class ErrorByRollouts(NamedTuple):
    """One row for each number of rollouts; squares of the unit of the gradient."""

    rollouts: np.ndarray  # N
    variance: Float[np.ndarray, "C"]  # of an estimate from N rollouts, summed over the parameters
    bias: Float[np.ndarray, "C"]  # squared; the same for all N
    error: Float[np.ndarray, "C"]  # mean squared distance from the true gradient


def error_by_rollouts(
    samples: Float[np.ndarray, "K k"], truth: Float[np.ndarray, "k"], *, block: int, rollouts: Sequence[int]
) -> ErrorByRollouts:
    """Variance, bias and error of estimates from several numbers of rollouts.

    Args:
        samples: of `gradient_samples`.
        truth: the true gradient, such as the mean of many samples from the known system.
        block: rollouts of a sample.
        rollouts: numbers N, multiples of `block`, of which at least two estimates can be made.
    Raises:
        ValueError: another number of rollouts.
    """
    samples = np.asarray(samples, np.float64)
    # The squared distance of the mean of all samples from the truth holds the variance of that mean.
    spread = samples.var(axis=0, ddof=1).sum() / len(samples)
    bias = max(0.0, float(np.sum((samples.mean(0) - truth) ** 2) - spread))
    rows = []
    for number in rollouts:
        groups = len(samples) * block // max(number, 1)
        if number % block or number < block or groups < 2:
            raise ValueError(f"rollouts must be multiples of {block}, at most half of all; got {number}.")
        means = samples[: groups * (number // block)].reshape(groups, number // block, -1).mean(axis=1)
        rows.append([means.var(axis=0, ddof=1).sum(), bias, np.mean(np.sum((means - truth) ** 2, axis=1))])
    return ErrorByRollouts(np.asarray(rollouts), *np.asarray(rows, float).T)


def relative_bias(samples: Float[np.ndarray, "K k"], truth: Float[np.ndarray, "k"]) -> float:
    """The distance of the mean of all samples from the true gradient, relative to the latter's norm."""
    return float(np.linalg.norm(np.mean(np.asarray(samples, np.float64), axis=0) - truth) / np.linalg.norm(truth))
