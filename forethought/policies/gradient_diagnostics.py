"""Whether gradients through imagined rollouts can be trusted: their size and spread by horizon, and why they explode.

The gradient of a cost H steps ahead contains the product of H closed-loop Jacobians
    J_t = d x_{t+1} / d x_t = F_x + F_u d pi / d x.
Where their spectral radius stays above 1 the product, and with it the gradient and its variance, grows exponentially
with the horizon; below 1 the gradient vanishes.
Source: Parmas et al. (2018), section 2.4; Bengio, Simard & Frasconi (1994).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
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
