"""Priors of locally fitted dynamics: what all rollouts together say of the dynamics at the states of a few.

Each is settings with `init`, `fit` (to all rows kept) and `at` (the prior along the rollouts of each condition).
Source: Levine & Abbeel (2014), section 3: a Gaussian mixture as prior; and any global model in its place.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.experience import require_at_least
from forethought.core import Gaussian, Regression, Result, UsageError
from forethought.core.precision import in_float32, in_float64
from forethought.core.settings import settings
from forethought.dynamics.local_prior import prior_from_model
from forethought.models.ensemble import Ensemble
from forethought.models.gmm import GMM
from forethought.models.linear_gaussian import NormalInverseWishart


@runtime_checkable
class Prior(Protocol):
    """Settings of a prior over the points [x; u; x'] of local fits, in units in which they are of order 1."""

    @property
    def regularization(self) -> float:
        """The ridge of local fits with this prior, relative to the variance of the inputs (`fit_linear_gaussian`)."""
        ...

    def require_samples(self, samples: int, n: int, m: int) -> None:
        """Raise `UsageError` where `samples` rollouts are too few for fits with this prior."""
        ...

    def init(self, n: int, m: int, *, key: PRNGKeyArray) -> Any:
        """The memory before any data."""
        ...

    def fit(self, memory: Any, z: Float[Array, "M d"], y: Float[Array, "M n"], *, key: PRNGKeyArray) -> Any:
        """The memory after a fit to these rows of z = [x; u] and y = x', in float64.  Requires JAX's x64 mode.

        Raises:
            NumericalFailure: the fit has no usable answer.
        """
        ...

    def at(self, memory: Any, z: Float[Array, "C N T d"], y: Float[Array, "C N T n"]) -> NormalInverseWishart | None:
        """The prior at every condition and step, stacked [C T]; None for no prior.  Requires JAX's x64 mode."""
        ...


@settings
class NoPrior:
    """No prior: regression on the rollouts of each step alone, which must outnumber the states and actions."""

    regularization: float = 1e-6  # ridge of local fits, relative to the variance of the inputs

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, regularization=0)

    def require_samples(self, samples: int, n: int, m: int) -> None:
        """See `Prior`."""
        least = n + m + 2
        if samples < least:
            raise UsageError(
                f"Without a prior, local dynamics of {n} states and {m} actions need {least} rollouts of each initial "
                f"condition in a round, and there are {samples}: set --conditions.samples {least}, or --prior gmm."
            )

    def init(self, n: int, m: int, *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del n, m, key
        return ()

    def fit(self, memory: tuple[()], z: Any, y: Any, *, key: PRNGKeyArray) -> tuple[()]:
        """No memory."""
        del z, y, key
        return memory

    def at(self, memory: tuple[()], z: Any, y: Any) -> None:
        """None."""
        del memory, z, y


@settings
class MixturePrior:
    """A Gaussian mixture over [x; u; x'], conditioned by how likely the points of each step are in its components.

    A few rollouts, and a mixture of the same data, leave combinations of states undetermined that do not vary, such as
    a position and the angle that it follows from.  Without the ridge, errors along them grow from step to step.
    """

    mixture: GMM = GMM(selection="rows", max_rows=2000, iterations=30)
    regularization: float = 0.01  # ridge of local fits, relative to the variance of the inputs

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, regularization=0)

    def require_samples(self, samples: int, n: int, m: int) -> None:
        """See `Prior`."""
        del n, m
        _require_two(samples)

    def init(self, n: int, m: int, *, key: PRNGKeyArray) -> Any:
        """The mixture before it is fitted."""
        return self.mixture.init(n + m, n, key=key)

    def fit(self, memory: Any, z: Float[Array, "M d"], y: Float[Array, "M n"], *, key: PRNGKeyArray) -> Any:
        """The mixture fitted to all rows."""
        size = jnp.asarray(z.shape[0], jnp.int32)
        fitted, report = self.mixture.fit(z, y, size, previous=in_float64(memory), key=key)
        Result(int(report.result)).throw()
        return fitted

    def at(self, memory: Any, z: Float[Array, "C N T d"], y: Float[Array, "C N T n"]) -> NormalInverseWishart:
        """See `Prior`."""
        points = jnp.swapaxes(jnp.concatenate([z, y], axis=-1), 1, 2)  # [C T N D]
        return _mixture_at(memory.mixture, points)


@eqx.filter_jit
def _mixture_at(mixture: Any, points: Float[Array, "C T N D"]) -> NormalInverseWishart:
    return jax.vmap(jax.vmap(mixture.prior))(points)


@settings
class ModelPrior:
    """A global model of the changes of the state, linearized along the mean of the rollouts."""

    model: Regression = Ensemble()
    strength: float = 1.0  # rollouts that the model counts as in a local fit
    regularization: float = 0.0  # ridge of local fits, relative to the variance of the inputs

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, regularization=0)
        if not self.strength > 0:
            raise ValueError(f"ModelPrior.strength must be positive, got {self.strength}.")

    def require_samples(self, samples: int, n: int, m: int) -> None:
        """See `Prior`."""
        del n, m
        _require_two(samples)

    def init(self, n: int, m: int, *, key: PRNGKeyArray) -> Any:
        """The model before it is fitted."""
        return self.model.init(n + m, n, key=key)

    def fit(self, memory: Any, z: Float[Array, "M d"], y: Float[Array, "M n"], *, key: PRNGKeyArray) -> Any:
        """The model fitted to all rows, in float32."""
        with jax.enable_x64(False):
            z, change = in_float32((z, y - z[:, : y.shape[1]]))
            fitted, report = self.model.fit(z, change, jnp.asarray(z.shape[0], jnp.int32), previous=memory, key=key)
        Result(int(report.result)).throw()
        return in_float64(fitted)

    def at(self, memory: Any, z: Float[Array, "C N T d"], y: Float[Array, "C N T n"]) -> NormalInverseWishart:
        """See `Prior`."""
        return _model_at(_Changes(memory), z, y.shape[-1], self.strength)


class _Changes(eqx.Module):
    """Dynamics made of a model of the changes of the state."""

    model: Any

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Gaussian:
        del t
        change = self.model(jnp.concatenate([x, u]))
        return Gaussian(x + change.mean, change.cov)

    def draw(self, *, key: PRNGKeyArray) -> "_Changes":
        return _Changes(self.model.draw(key=key))


@eqx.filter_jit
def _model_at(dynamics: _Changes, z: Float[Array, "C N T d"], n: int, strength: float) -> NormalInverseWishart:
    return jax.vmap(lambda z: prior_from_model(dynamics, z, n, strength=strength))(z)


def _require_two(samples: int) -> None:
    if samples < 2:
        raise UsageError(
            "Local dynamics need at least 2 rollouts of each initial condition in a round, and there is 1: set "
            "--conditions.samples 5."
        )
