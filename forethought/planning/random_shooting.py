"""Random shooting: try many action sequences on the model, keep the best."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_sampling


class BestSequence(eqx.Module):
    """The best sequence so far, and its cost."""

    us: Float[Array, "T m"]
    cost: Float[Array, ""]


@settings
class RandomShooting:
    """Settings of random shooting.  Source: Nagabandi et al. (2018), section IV.C."""

    horizon: int = 20  # steps
    population: int = 1000  # action sequences tried
    hold: int = 1  # steps for which an action is held
    particles: int = 5  # for each sequence; a multiple of the ensemble's members
    propagation: Propagation = "ts-inf"  # how particles believe in the model: ts-inf, ts1 or mean

    def __post_init__(self):
        """Refuse settings that cannot work."""
        check_sampling(self, ("horizon", "population", "hold", "particles"))

    @property
    def iterations(self) -> int:
        """One: its samples do not depend on those before."""
        return 1

    def init(self, problem: Problem) -> tuple[()]:
        """No memory."""
        del problem
        return ()

    def plan(self, problem: Problem, x0: Float[Array, "n"], state: Any, *, key: PRNGKeyArray) -> tuple[Plan, tuple[()]]:
        """The best of `population` uniform sequences."""
        search = self.begin(problem, x0, state)
        return self.finish(problem, x0, self.improve(problem, x0, search, 0, key=key))

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: Any) -> BestSequence:
        """Nothing is tried yet; the middle of the action range stands in."""
        del state
        middle = box_of(problem.task).center
        us = jnp.broadcast_to(middle, (self.horizon, middle.shape[0]))
        return BestSequence(us, jnp.full((), jnp.inf, x0.dtype))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: BestSequence, i: int, *, key: PRNGKeyArray
    ) -> BestSequence:
        """Try `population` more."""
        del i
        sample_key, cost_key = jr.split(key)
        lower, upper = box_of(problem.task).low, box_of(problem.task).high
        blocks = -(-self.horizon // self.hold)
        shape = (self.population, blocks, lower.shape[0])
        us = lower[None, None] + (upper - lower)[None, None] * jr.uniform(sample_key, shape, lower.dtype)
        us = jnp.repeat(us, self.hold, axis=1)[:, : self.horizon]
        costs = expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)
        best = jnp.argmin(costs)
        better = costs[best] < search.cost
        return BestSequence(jnp.where(better, us[best], search.us), jnp.minimum(costs[best], search.cost))

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: BestSequence) -> tuple[Plan, tuple[()]]:
        """The best sequence so far."""
        return open_loop_plan(problem, x0, search.us, search.cost), ()
