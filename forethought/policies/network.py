"""Policies that are networks: a Gaussian clipped or squashed into the action limits, or a choice of n actions.

Each is a `Conditional`; `Acting(policy)` makes a controller of it.  Gradients reach the weights only: the moments that
standardize observations and the action limits are held fixed.
"""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Box, Categorical, Conditional, Discrete, Observations, Spaces, UsageError
from forethought.networks.build import Network, network_for
from forethought.networks.inputs import Inputs
from forethought.networks.mlp import Initializer, orthogonal, uniform
from forethought.networks.trunk import Trunk
from forethought.policies.distributions import ClippedGaussian, SquashedGaussian

MIN_LOG_STD, MAX_LOG_STD = -20.0, 2.0  # of the squashed Gaussian: Haarnoja et al.'s code and Stable-Baselines3


@runtime_checkable
class HasSeen(Protocol):
    """Capability of a policy or value that standardizes observations by the moments of those it has seen."""

    def seen(self, xs: Shaped[Array, "N *n"]) -> "HasSeen":
        """The same function with the moments of N more observations."""
        ...


class GaussianPolicy(eqx.Module):
    """`clip(N(center + half g(x), half exp(log_std)))`, g a network, one standard deviation for all observations."""

    inputs: Inputs
    network: Network
    log_std: Float[Array, "m"]  # in units of half the range of the actions
    box: Box

    def __call__(self, x: Shaped[Array, "*n"]) -> ClippedGaussian:
        """The distribution of the action."""
        box = jax.lax.stop_gradient(self.box)
        mean = box.center + box.half_range * self.network(self.inputs(x))
        return ClippedGaussian(mean, box.half_range * jnp.exp(self.log_std), box)

    def draw(self, *, key: PRNGKeyArray) -> "GaussianPolicy":
        """Itself: its weights are certain."""
        del key
        return self

    def seen(self, xs: Shaped[Array, "N *n"]) -> "GaussianPolicy":
        """With the moments of N more observations."""
        return eqx.tree_at(lambda p: p.inputs, self, self.inputs.seen(xs))


class SquashedGaussianPolicy(eqx.Module):
    """`center + half tanh(N(g(x), exp(h(x))))`, [g, h] the two halves of a network's output."""

    inputs: Inputs
    network: Network
    box: Box

    def __call__(self, x: Shaped[Array, "*n"]) -> SquashedGaussian:
        """The distribution of the action."""
        mean, log_std = jnp.split(self.network(self.inputs(x)), 2)
        std = jnp.exp(jnp.clip(log_std, MIN_LOG_STD, MAX_LOG_STD))
        return SquashedGaussian(mean, std, jax.lax.stop_gradient(self.box))

    def draw(self, *, key: PRNGKeyArray) -> "SquashedGaussianPolicy":
        """Itself: its weights are certain."""
        del key
        return self

    def seen(self, xs: Shaped[Array, "N *n"]) -> "SquashedGaussianPolicy":
        """With the moments of N more observations."""
        return eqx.tree_at(lambda p: p.inputs, self, self.inputs.seen(xs))


class CategoricalPolicy(eqx.Module):
    """Logits of n actions from a network."""

    inputs: Inputs
    network: Network

    def __call__(self, x: Shaped[Array, "*n"]) -> Categorical:
        """The distribution of the action."""
        return Categorical(self.network(self.inputs(x)))

    def draw(self, *, key: PRNGKeyArray) -> "CategoricalPolicy":
        """Itself: its weights are certain."""
        del key
        return self

    def seen(self, xs: Shaped[Array, "N *n"]) -> "CategoricalPolicy":
        """With the moments of N more observations."""
        return eqx.tree_at(lambda p: p.inputs, self, self.inputs.seen(xs))


class TrunkPolicy(eqx.Module):
    """A policy whose features are shared with other functions: `head(trunk(x))`."""

    trunk: Trunk
    head: Conditional  # a policy of the features

    def __call__(self, x: Shaped[Array, "*n"]) -> Any:
        """The distribution of the action."""
        return self.head(self.trunk(x))

    def draw(self, *, key: PRNGKeyArray) -> "TrunkPolicy":
        """Itself: its weights are certain."""
        del key
        return self


def on_trunk(trunk: Trunk, actions: Box | Discrete, *, who: str, key: PRNGKeyArray) -> TrunkPolicy:
    """A policy that is affine in the features of `trunk`, nearly the same distribution for all observations."""
    features = Spaces(Observations((trunk.size,)), actions)
    return TrunkPolicy(trunk, on_policy(features, hidden=(), normalize=False, who=who, key=key))


def on_policy(
    spaces: Spaces, *, hidden: tuple[int, ...], normalize: bool, who: str, key: PRNGKeyArray
) -> GaussianPolicy | CategoricalPolicy:
    """The policy that policy gradients start from: tanh units, nearly the same distribution for all observations.

    Args:
        spaces: of the environment; images get a convolutional network, and discrete actions a categorical policy.
        hidden: units of each hidden layer, for observations that are not images.
        normalize: standardize observations that are real numbers.
        who: the learner, for messages.
        key: random key.
    Raises:
        UsageError: actions without finite limits, or observations that no network here takes.
    """
    inputs = Inputs.of(spaces.observations, normalize=normalize)
    # Andrychowicz et al. (2021), section 3.2: a last layer 100 times smaller; gains as in CleanRL
    network = network_for(
        inputs,
        spaces.actions.size,
        hidden=hidden,
        activation=jnp.tanh,
        initializer=orthogonal(2**0.5),
        last=orthogonal(0.01),
        who=who,
        key=key,
    )
    if isinstance(spaces.actions, Discrete):
        return CategoricalPolicy(inputs, network)
    box = require_limits(spaces.actions, who)
    return GaussianPolicy(inputs, network, jnp.zeros(box.size), box)


def squashed_gaussian(
    spaces: Spaces,
    *,
    hidden: tuple[int, ...],
    activation: Callable[[Array], Array] = jax.nn.relu,
    normalize: bool = False,
    initializer: Initializer = uniform,
    who: str,
    key: PRNGKeyArray,
) -> SquashedGaussianPolicy:
    """The policy that SAC starts from: ReLU units by default; see `on_policy`."""
    box = require_limits(spaces.actions, who)
    inputs = Inputs.of(spaces.observations, normalize=normalize)
    network = network_for(
        inputs, 2 * box.size, hidden=hidden, activation=activation, initializer=initializer, who=who, key=key
    )
    return SquashedGaussianPolicy(inputs, network, box)


def require_limits(actions: Box | Discrete, who: str) -> Box:
    """The box of actions, if its limits are finite.

    Raises:
        UsageError: they are not, or the actions are discrete.
    """
    if isinstance(actions, Discrete):
        raise UsageError(f"{who} needs continuous actions; this task has {actions.n} discrete ones: use PPO.")
    known = not any(isinstance(limit, jax.core.Tracer) for limit in (actions.low, actions.high))
    if known and not np.isfinite([actions.low, actions.high]).all():
        raise UsageError(f"{who} needs actions with finite limits: give the Box a finite low and high.")
    return actions
