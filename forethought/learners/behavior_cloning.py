"""Behavior cloning: a policy is fitted to the actions of another controller.

Symbols: x an observation, u the action of the controller there, m(x) the policy's mode and s(x) the standard deviation
of its actions in units of half the range h; s* the spread that the fitted policy shall have:
    continuous actions   loss = mean d((m(x) - u) / h) + (log s(x) - log s*)^2,  d(v) = v^2 or |v|
    discrete actions     loss = -mean log pi(u | x)
Squared errors fit the mean of the actions, absolute errors their median: it is one of the two actions of a controller
that turns left or right in the same state, where their mean does neither.
The spread is set and not learned, because a controller that plans has none; it is the policy's exploration afterwards.
Source: Nagabandi et al. (2018), Neural network dynamics for model-based deep RL with model-free fine-tuning, section
IV-E, equation 8.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Box, Categorical, Conditional, NumericalFailure
from forethought.core.data import AnyArray
from forethought.core.settings import settings
from forethought.networks.descent import decaying_adam, descend
from forethought.policies.distributions import SquashedGaussian
from forethought.policies.network import HasSeen


class CloningReport(eqx.Module):
    """How well the policy imitates."""

    first: Float[Array, ""]  # loss before
    last: Float[Array, ""]  # mean loss of the last tenth of the updates
    error: Float[Array, ""]  # root mean square of (m(x) - u) / h; share of other choices where actions are discrete

    @property
    def metrics(self) -> dict[str, float]:
        """For the record of a run."""
        return {"imitation_loss": float(self.last), "imitation_error": float(self.error)}


@settings
class BehaviorCloning:
    """Settings of behavior cloning."""

    updates: int = 6000  # gradient steps
    batch: int = 256  # rows of a batch
    learning_rate: float = 1e-3  # of Adam
    loss: Literal["squared", "absolute"] = "absolute"  # of continuous actions; Nagabandi et al. (2018): squared
    decay: bool = True  # the step size decreases to zero in each fit
    spread: float = 0.2  # standard deviation of the fitted policy's actions, in units of half the action range

    def __post_init__(self):
        """Refuse settings out of range."""
        for name in ("updates", "batch", "learning_rate", "spread"):
            if not getattr(self, name) > 0:
                raise ValueError(f"BehaviorCloning.{name} must be positive, got {getattr(self, name)}.")

    def fit(
        self,
        policy: Conditional,
        xs: Shaped[AnyArray, "N *n"],
        us: Shaped[AnyArray, "N *m"],
        size: Int[Array, ""] | int,
        *,
        space: Any,
        key: PRNGKeyArray,
    ) -> tuple[Conditional, CloningReport]:
        """The policy fitted to the first `size` rows; compiled once for each N.

        Args:
            policy: what to start from.
            xs: observations.
            us: the controller's actions there.
            size: how many rows hold data.
            space: of the actions, `Box` or `Discrete`.
            key: random key.
        Raises:
            NumericalFailure: the loss is not finite.
        """
        start: Any = policy.seen(jnp.asarray(xs)[: int(size)]) if isinstance(policy, HasSeen) else policy
        fitted, report = _fit(self, start, jnp.asarray(xs), jnp.asarray(us), jnp.asarray(size), space, key)
        if not bool(jnp.isfinite(report.last)):
            raise NumericalFailure("behavior cloning diverged: lower --cloning.learning-rate.")
        return fitted, report


@eqx.filter_jit
def _fit(
    settings: BehaviorCloning, policy: Any, xs: Array, us: Array, size: Array, space: Any, key: PRNGKeyArray
) -> tuple[Any, CloningReport]:
    def loss(policy: Any, key: PRNGKeyArray) -> tuple[Array, Array]:
        rows = jr.randint(key, (settings.batch,), 0, size)
        losses, errors = jax.vmap(lambda x, u: _loss(settings, policy, x, u, space))(xs[rows], us[rows])
        return jnp.mean(losses), jnp.mean(errors)

    keys = jr.split(key, settings.updates)
    optimizer = decaying_adam(settings.learning_rate, settings.updates, decay=settings.decay)
    fitted, losses, errors = descend(loss, policy, optimizer=optimizer, keys=keys)
    last = max(1, settings.updates // 10)
    error = jnp.mean(errors[-last:])
    report = CloningReport(losses[0], jnp.mean(losses[-last:]), jnp.sqrt(error) if isinstance(space, Box) else error)
    return fitted, report


def _loss(settings: BehaviorCloning, policy: Any, x: Array, u: Array, space: Any) -> tuple[Array, Array]:
    """The loss at one observation, and the squared error of the mode, or whether it is another choice."""
    actions = policy(x)
    if isinstance(actions, Categorical):
        return -actions.log_prob(u), (actions.mode != u).astype(jnp.float32)
    gap = (actions.mode - u) / space.half_range
    error = jnp.mean(gap**2)
    distance = error if settings.loss == "squared" else jnp.mean(jnp.abs(gap))
    unit = 1.0 if isinstance(actions, SquashedGaussian) else space.half_range
    return distance + jnp.mean((jnp.log(actions.std / unit) - jnp.log(settings.spread)) ** 2), error
