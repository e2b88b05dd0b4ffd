"""Candidate action sequences with their costs: the best one so far, and the elites.

Symbols: S candidates us [S, T, m], or [S, T] of discrete actions, with costs [S]; a cost that is not finite is set to
infinity, and one of a candidate that violates constraints is at least INFEASIBLE (`planning/particles.py`).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Shaped

INFEASIBLE = 1e20  # cost from which on a candidate violates constraints with too large a probability


class BestSequence(eqx.Module):
    """The action sequence of lowest cost so far, and its cost.

    The cost is infinite until a candidate has a finite cost; until then `us` is the warm start: the last plan shifted
    by one step, or the middle of the action range before the first plan.  A controller whose model fails thus follows
    its last plan.
    """

    us: Shaped[Array, "T *m"]
    cost: Float[Array, ""]

    @staticmethod
    def none_yet(warm_start: Shaped[Array, "T *m"], dtype: DTypeLike | None = None) -> "BestSequence":
        """The initial value, before any candidate is evaluated; `dtype` of costs, by default that of the actions."""
        return BestSequence(warm_start, jnp.full((), jnp.inf, warm_start.dtype if dtype is None else dtype))

    def or_cheaper(self, us: Shaped[Array, "T *m"], cost: Float[Array, ""]) -> "BestSequence":
        """The better of this sequence and `us`; a cost that is not finite is never better."""
        cheaper = jnp.isfinite(cost) & (cost < self.cost)
        return BestSequence(jnp.where(cheaper, us, self.us), jnp.where(cheaper, cost, self.cost))

    def or_else(self, us: Shaped[Array, "T *m"], cost: Float[Array, ""]) -> "BestSequence":
        """Replace the sequence by `us` if its cost is not finite, or is infeasible, and `us` is cheaper."""
        better = ~(self.cost < INFEASIBLE) & (cost < self.cost)
        return BestSequence(jnp.where(better, us, self.us), jnp.where(better, cost, self.cost))


class Elites(eqx.Module):
    """The E candidates of lowest cost, in order of cost; candidates of infinite cost are ignored."""

    us: Shaped[Array, "E T *m"]
    costs: Float[Array, "E"]

    @staticmethod
    def of(us: Shaped[Array, "S T *m"], costs: Float[Array, "S"], count: int) -> "Elites":
        """The `count` candidates of lowest cost."""
        negative, order = jax.lax.top_k(-costs, count)
        return Elites(us[order], -negative)

    @property
    def finite(self) -> Bool[Array, "E"]:
        """Which elites have a finite cost."""
        return jnp.isfinite(self.costs)

    @property
    def share(self) -> Float[Array, ""]:
        """The share of them that count."""
        return jnp.mean(self.finite, dtype=self.costs.dtype)

    @property
    def weights(self) -> Float[Array, "E"]:
        """Equal weights of the elites of finite cost, which sum to one; all zero if there are none."""
        return self.finite / jnp.maximum(jnp.sum(self.finite, dtype=self.costs.dtype), 1)

    def refitted(
        self, mean: Float[Array, "T m"], var: Float[Array, "T m"]
    ) -> tuple[Float[Array, "T m"], Float[Array, "T m"]]:
        """The mean and the variance of the elites.

        If fewer than E candidates have a finite cost, the variance is a weighted mean with the variance of the current
        distribution, `var`, so that a few finite candidates do not end the search.  With none, nothing changes.
        """
        share, weights = self.share, self.weights[:, None, None]
        fitted = jnp.where(share > 0, jnp.sum(weights * self.us, axis=0), mean)
        spread = jnp.sum(weights * (self.us - fitted[None]) ** 2, axis=0)
        return fitted, share * spread + (1 - share) * var

    def kept(self, count: int, before: Float[Array, "K T m"]) -> Float[Array, "K T m"]:
        """The `count` best elites, K = count; elites of infinite cost are replaced by the sequences `before`."""
        return jnp.where(self.finite[:count, None, None], self.us[:count], before)
