"""Any global model of the dynamics as the prior of local fits: linearized along the mean trajectory of the rollouts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from forethought.core import Dynamics, Gaussian
from forethought.dynamics.linearize import linearize
from forethought.models.linear_gaussian import NormalInverseWishart, model_prior, typical_variance


def prior_from_model(
    dynamics: Dynamics,
    z: Float[Array, "N T d"],
    n: int,
    *,
    strength: float = 1.0,
    mean_strength: float = 0.0,
    t0: Int[Array, ""] | int = 0,
    regularization: float = 1e-2,
) -> NormalInverseWishart:
    """The prior over [x; u; x'] of each step, stacked [T], for `models.linear_gaussian.fit_linear_gaussian`.

    Args:
        dynamics: a model with n state coordinates, known or learned.
        z: states and actions [x; u] of the rollouts that will be fitted.
        n: number of state coordinates.
        strength: number of rollouts that the prior counts as.
        mean_strength: number of rollouts that the model's prediction at the mean counts as; with 0 the mean of the
            rollouts is kept, and only slopes and noise of the model count.
        t0: step index of the first step.
        regularization: variance added to each input's, relative to its average over the steps, so that the model's
            slopes count in directions in which the rollouts do not vary.
    """
    means = z.mean(axis=0)
    deviations = z - means[None]
    floor = regularization * typical_variance(z)
    covs = jnp.einsum("nti,ntj->tij", deviations, deviations) / z.shape[0] + jnp.diag(floor)[None]
    times = t0 + jnp.arange(z.shape[1])
    slopes = jax.vmap(lambda z, t: linearize(dynamics, z[:n], z[n:], t))(means, times)
    return model_prior(Gaussian(means, covs), slopes, strength, mean_strength=mean_strength)
