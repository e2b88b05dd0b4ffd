"""Distributions over action sequences that sampling planners draw candidates from, for both kinds of actions.

Symbols: S candidates, T steps.
    Box        us [S, T, m];  N(mean [T, m], diag std^2), truncated to two standard deviations; std is bounded by half
               the distance from the mean to the nearer limit, so samples respect the limits without being clipped
    Discrete   us [S, T], integers below n;  at each step independent, with probabilities p [T, n]
The mean of a discrete sequence is that of its one-hot form: the probabilities.  So a warm start is one array, `mean`,
either way.
Source: Botev et al. (2013), "The cross-entropy method for optimization", sections 3.1 (categorical) and 3.2 (normal).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Box, Discrete
from forethought.planning.candidates import Elites
from forethought.planning.noise import quick_normal, quick_uniform

FRESH = 0.5  # share of the uniform distribution in the first one of a search over discrete actions


class NormalSequences(eqx.Module):
    """Sequences of real numbers [T, m] within the limits of `space`."""

    space: Box
    mean: Float[Array, "T m"]
    std: Float[Array, "T m"]

    @property
    def center(self) -> Float[Array, "T m"]:
        """The sequence that stands for the distribution: its mean."""
        return self.mean

    def sample(self, count: int, *, key: PRNGKeyArray) -> Float[Array, "S T m"]:
        """`count` sequences."""
        lower, upper = self.space.low[None], self.space.high[None]
        within = jnp.minimum(self.mean - lower, upper - self.mean) / 2
        noise = quick_normal((count, *self.mean.shape), self.mean.dtype, key=key, bound=2.0)
        return jnp.clip(self.mean[None] + jnp.minimum(self.std, within)[None] * noise, lower[None], upper[None])

    def refitted(self, elites: Elites, keep: float) -> "NormalSequences":
        """The distribution of the elites, with weight `keep` on the present mean and variance."""
        mean, var = elites.refitted(self.mean, self.std**2)
        std = jnp.sqrt(keep * self.std**2 + (1 - keep) * var)
        return NormalSequences(self.space, keep * self.mean + (1 - keep) * mean, std)

    def one_step_later(self) -> Float[Array, "T m"]:
        """The mean for the next step's horizon, which ends in the middle of the action range."""
        middle = self.space.center.astype(self.mean.dtype)
        return jnp.concatenate([self.mean[1:], middle[None]])


class CategoricalSequences(eqx.Module):
    """Sequences of choices [T]."""

    p: Float[Array, "T n"]

    @property
    def center(self) -> Shaped[Array, "T"]:
        """The sequence that stands for the distribution: the most probable choices."""
        return jnp.argmax(self.p, axis=1).astype(jnp.int32)

    def sample(self, count: int, *, key: PRNGKeyArray) -> Shaped[Array, "S T"]:
        """`count` sequences."""
        share = 0.5 * (quick_uniform((count, self.p.shape[0]), self.p.dtype, key=key) + 1)
        below = jnp.cumsum(self.p, axis=1)[:, :-1]  # the last choice takes what rounding leaves
        return jnp.sum(share[:, :, None] > below[None], axis=2, dtype=jnp.int32)

    def refitted(self, elites: Elites, keep: float) -> "CategoricalSequences":
        """The frequencies among the elites, with weight `keep` on the present probabilities (smoothing).

        Where elites of finite cost are missing, the present probabilities take their place.
        """
        weights = elites.weights.astype(self.p.dtype)
        chosen = jax.nn.one_hot(elites.us, self.p.shape[1], dtype=self.p.dtype)
        share = elites.share.astype(self.p.dtype)
        frequency = share * jnp.sum(weights[:, None, None] * chosen, axis=0) + (1 - share) * self.p
        return CategoricalSequences(keep * self.p + (1 - keep) * frequency)

    def one_step_later(self) -> Float[Array, "T n"]:
        """The probabilities for the next step's horizon, whose last step is open."""
        return jnp.concatenate([self.p[1:], jnp.full_like(self.p[:1], 1 / self.p.shape[1])])


Sequences = NormalSequences | CategoricalSequences


def first_mean(space: Box | Discrete, steps: int) -> Float[Array, "T _"]:
    """The mean before anything is known: the middle of the action range, or equal probabilities."""
    middle = space.center if isinstance(space, Box) else jnp.full(space.n, 1 / space.n)
    return jnp.broadcast_to(middle, (steps, middle.shape[0]))


def sequences_around(space: Box | Discrete, mean: Float[Array, "T _"]) -> Sequences:
    """The first distribution of a search that starts at the warm start `mean`: as wide as the space allows.

    Of discrete actions, half of it is the uniform distribution.
    """
    if isinstance(space, Box):
        std = jnp.broadcast_to(space.half_range[None].astype(mean.dtype) / 2, mean.shape)
        return NormalSequences(space, mean, std)
    return CategoricalSequences(FRESH / space.n + (1 - FRESH) * mean)


def uniform_sequences(
    space: Box | Discrete, count: int, steps: int, dtype, *, hold: int = 1, key: PRNGKeyArray
) -> Shaped[Array, "S T *m"]:
    """`count` sequences of actions, each action as likely as the others and held for `hold` steps."""
    blocks = -(-steps // hold)
    if isinstance(space, Box):
        share = quick_uniform((count, blocks, space.size), dtype, key=key)
        us = space.center[None, None] + space.half_range[None, None] * share
    else:
        share = 0.5 * (quick_uniform((count, blocks), dtype, key=key) + 1)
        us = jnp.minimum((share * space.n).astype(jnp.int32), space.n - 1)
    return jnp.repeat(us, hold, axis=1)[:, :steps]


def first_sequence(space: Box | Discrete, steps: int) -> Shaped[Array, "T *m"]:
    """The sequence before anything is known: the middle of the action range, or the first choice."""
    middle = space.center if isinstance(space, Box) else space.example()
    return jnp.broadcast_to(middle, (steps, *middle.shape))


def as_actions(us: Shaped[Array, "T *m"], dtype) -> Shaped[Array, "T *m"]:
    """Real numbers in another dtype; choices stay integers."""
    return us.astype(dtype) if jnp.issubdtype(us.dtype, jnp.floating) else us
