"""The cross-entropy method: sample action sequences, refit the sampling distribution to the best of them, repeat.

Symbols: S = population, T = horizon; sampling distribution N(mean [T, m], diag std^2), truncated to two standard
deviations; its std is bounded by half the distance from the mean to the nearer action limit, so that samples respect
the limits without being clipped onto them.
Source: Chua et al. (2018), appendix A.2, and Botev et al. (2013).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.anytime import run_search
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_elites, check_sampling


class CEMState(eqx.Module):
    """The warm start: where the next search begins."""

    mean: Float[Array, "T m"]


class CEMSearch(eqx.Module):
    """The sampling distribution, and the least cost among the last samples."""

    mean: Float[Array, "T m"]
    std: Float[Array, "T m"]
    cost: Float[Array, ""]


@settings
class CEM:
    """Settings of CEM, lean enough for a laptop; `docs/fidelity.md` has those of the paper."""

    horizon: int = 20  # steps
    population: int = 300  # action sequences in each iteration
    elites: int = 30  # the best, to which the distribution is refitted
    iterations: int = 5  # rounds of refinement
    momentum: float = 0.1  # share of the old mean and variance that is kept, in [0, 1)
    particles: int = 5  # for each sequence; a multiple of the ensemble's members
    propagation: Propagation = "ts-inf"  # how particles believe in the model: ts-inf, ts1 or mean

    def __post_init__(self):
        """Refuse settings that cannot work."""
        check_sampling(self, ("horizon", "population", "elites", "iterations", "particles"))
        check_elites(self)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"CEM.momentum must be in [0, 1), got {self.momentum}.")

    def init(self, problem: Problem) -> CEMState:
        """Start in the middle of the action range."""
        middle = box_of(problem.task).center
        return CEMState(jnp.broadcast_to(middle, (self.horizon, middle.shape[0])))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: CEMState, *, key: PRNGKeyArray
    ) -> tuple[Plan, CEMState]:
        """The mean of the last sampling distribution, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: CEMState) -> CEMSearch:
        """Around the warm start, as wide as the limits allow."""
        std = jnp.broadcast_to((box_of(problem.task).high - box_of(problem.task).low)[None] / 4, state.mean.shape)
        return CEMSearch(state.mean, std, jnp.full((), jnp.inf, x0.dtype))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch, i: int, *, key: PRNGKeyArray
    ) -> CEMSearch:
        """Sample, score, refit.  A candidate whose cost is not finite is never an elite while there are finite ones."""
        del i
        lower, upper = box_of(problem.task).low[None], box_of(problem.task).high[None]
        mean, std = search.mean, search.std
        sample_key, cost_key = jr.split(key)
        within = jnp.minimum(mean - lower, upper - mean) / 2
        noise = jr.truncated_normal(sample_key, -2.0, 2.0, (self.population, *mean.shape), mean.dtype)
        us = jnp.clip(mean[None] + jnp.minimum(std, within)[None] * noise, lower[None], upper[None])
        costs = expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)
        elites = us[jax.lax.top_k(-costs, self.elites)[1]]
        keep = self.momentum
        var = keep * std**2 + (1 - keep) * jnp.var(elites, axis=0)
        mean = keep * mean + (1 - keep) * jnp.mean(elites, axis=0)
        return CEMSearch(mean, jnp.sqrt(var), jnp.min(costs))

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch) -> tuple[Plan, CEMState]:
        """The mean; its cost is told by the best of the last samples."""
        middle = box_of(problem.task).center
        warm = CEMState(jnp.concatenate([search.mean[1:], middle[None]]))
        return open_loop_plan(problem, x0, search.mean, search.cost), warm
