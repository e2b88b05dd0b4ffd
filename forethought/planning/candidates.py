"""Candidate action sequences with their costs: the cheapest one so far, and elites to fit a distribution to.

Symbols: S candidates us [S, T, m], or [S, T] of discrete actions, with costs [S]; infinity stands for every cost that
is not finite.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped


class BestSequence(eqx.Module):
    """The cheapest action sequence so far, and its cost.

    The cost is infinite as long as no cost was finite; `us` is then the warm start: the last plan one step later, or
    the middle of the action range before there is a plan.  So a controller whose model fails keeps to its last plan.
    """

    us: Shaped[Array, "T *m"]
    cost: Float[Array, ""]

    @staticmethod
    def none_yet(warm_start: Shaped[Array, "T *m"], dtype: DTypeLike | None = None) -> "BestSequence":
        """Before the first cost is known; `dtype` of costs, where it is not that of the actions."""
        return BestSequence(warm_start, jnp.full((), jnp.inf, warm_start.dtype if dtype is None else dtype))

    def or_cheaper(self, us: Shaped[Array, "T *m"], cost: Float[Array, ""]) -> "BestSequence":
        """`us` if it costs less, else this one; a cost that is not finite is never less."""
        cheaper = jnp.isfinite(cost) & (cost < self.cost)
        return BestSequence(jnp.where(cheaper, us, self.us), jnp.where(cheaper, cost, self.cost))

    def or_else(self, us: Shaped[Array, "T *m"], cost: Float[Array, ""]) -> "BestSequence":
        """The same sequence if its cost is finite, else `us` if its cost is."""
        missing = ~jnp.isfinite(self.cost)
        return BestSequence(jnp.where(missing & jnp.isfinite(cost), us, self.us), jnp.where(missing, cost, self.cost))


class Elites(eqx.Module):
    """The E cheapest candidates, the cheapest first; those of infinite cost do not count."""

    us: Shaped[Array, "E T *m"]
    costs: Float[Array, "E"]

    @staticmethod
    def of(us: Shaped[Array, "S T *m"], costs: Float[Array, "S"], count: int) -> "Elites":
        """The `count` cheapest of S candidates."""
        negative, order = jax.lax.top_k(-costs, count)
        return Elites(us[order], -negative)

    @property
    def finite(self) -> Bool[Array, "E"]:
        """Which of them count."""
        return jnp.isfinite(self.costs)

    @property
    def share(self) -> Float[Array, ""]:
        """The share of them that count."""
        return jnp.mean(self.finite, dtype=self.costs.dtype)

    @property
    def weights(self) -> Float[Array, "E"]:
        """Equal weights of those that count, which sum to one, or all zero where none does."""
        return self.finite / jnp.maximum(jnp.sum(self.finite, dtype=self.costs.dtype), 1)

    def refitted(
        self, mean: Float[Array, "T m"], var: Float[Array, "T m"]
    ) -> tuple[Float[Array, "T m"], Float[Array, "T m"]]:
        """The mean and the variance of the elites.

        Where elites are missing, the variance is filled up with that of the present distribution, `var`, in proportion:
        two finite candidates are no reason to stop searching elsewhere.  With no finite one, nothing changes.
        """
        share, weights = self.share, self.weights[:, None, None]
        fitted = jnp.where(share > 0, jnp.sum(weights * self.us, axis=0), mean)
        spread = jnp.sum(weights * (self.us - fitted[None]) ** 2, axis=0)
        return fitted, share * spread + (1 - share) * var

    def kept(self, count: int, before: Float[Array, "K T m"]) -> Float[Array, "K T m"]:
        """The `count` cheapest, K = count; the sequences `before` in place of those that do not count."""
        return jnp.where(self.finite[:count, None, None], self.us[:count], before)
