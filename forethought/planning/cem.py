"""The cross-entropy method: sample action sequences, refit the sampling distribution to the elites, repeat.

Symbols: S = population, T = horizon; sampling distribution N(mean [T, m], diag std^2), truncated to two standard
deviations; its std is bounded by half the distance from the mean to the nearer action limit, so that samples respect
the limits without being clipped to them.
The plan is the mean of the sampling distribution, as published: of all means since the start of the search, the
warm start among them, the one with the least expected cost.  Only as long as no mean has a finite cost, it is the
cheapest sample instead; and where no sample has one either, the warm start.
Source: Chua et al. (2018), appendix A.2, and Botev et al. (2013).
Differs: means are scored too, and samples of infinite cost are never elites.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.anytime import run_search
from forethought.planning.candidates import BestSequence, Elites
from forethought.planning.noise import quick_normal, quick_split
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_elites, check_sampling


class CEMState(eqx.Module):
    """The warm start: the mean of the first sampling distribution."""

    mean: Float[Array, "T m"]


class CEMSearch(eqx.Module):
    """The sampling distribution and the cheapest plan so far."""

    mean: Float[Array, "T m"]
    std: Float[Array, "T m"]
    best: BestSequence


@settings
class CEM:
    """Settings of CEM, small enough for a laptop; `docs/fidelity.md` has those of the paper."""

    horizon: int = 20  # planning horizon, steps
    population: int = 300  # action sequences per iteration: the mean and samples around it
    elites: int = 30  # cheapest sequences, to which the sampling distribution is refitted
    iterations: int = 5  # refits of the sampling distribution per plan
    momentum: float = 0.1  # weight of the old mean and variance in a refit, in [0, 1)
    particles: int = 5  # particles per sequence, a multiple of the ensemble's members; 1 where the model is certain
    propagation: Propagation = "ts-inf"  # propagation of particles through the model: ts-inf, ts1 or mean

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
        """The cheapest mean, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: CEMState) -> CEMSearch:
        """Around the warm start, as wide as the limits allow."""
        mean = state.mean.astype(x0.dtype)
        std = jnp.broadcast_to(box_of(problem.task).half_range[None].astype(x0.dtype) / 2, mean.shape)
        return CEMSearch(mean, std, BestSequence.none_yet(mean))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch, i: int, *, key: PRNGKeyArray
    ) -> CEMSearch:
        """Sample, score, refit to the elites, score the mean."""
        del i
        lower, upper = box_of(problem.task).low[None], box_of(problem.task).high[None]
        mean, std = search.mean, search.std
        sample_key, cost_key = quick_split(key, 2)

        def score(us: Float[Array, "S T m"]) -> Float[Array, "S"]:
            return expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)

        within = jnp.minimum(mean - lower, upper - mean) / 2
        noise = quick_normal((self.population - 1, *mean.shape), mean.dtype, key=sample_key, bound=2.0)
        samples = jnp.clip(mean[None] + jnp.minimum(std, within)[None] * noise, lower[None], upper[None])
        us = jnp.concatenate([mean[None], samples])
        costs = score(us)
        elites = Elites.of(us, costs, self.elites)
        fitted_mean, fitted_var = elites.refitted(mean, std**2)
        keep = self.momentum
        refitted = keep * mean + (1 - keep) * fitted_mean
        best = search.best.or_cheaper(mean, costs[0]).or_cheaper(refitted, score(refitted[None])[0])
        best = best.or_else(elites.us[0], elites.costs[0])
        return CEMSearch(refitted, jnp.sqrt(keep * std**2 + (1 - keep) * fitted_var), best)

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch) -> tuple[Plan, CEMState]:
        """The cheapest mean; the last one is the warm start."""
        middle = box_of(problem.task).center.astype(x0.dtype)
        warm = CEMState(jnp.concatenate([search.mean[1:], middle[None]]))
        return open_loop_plan(problem, x0, search.best.us, search.best.cost), warm
