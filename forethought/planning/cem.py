"""The cross-entropy method: sample action sequences, refit the sampling distribution to the elites, repeat.

Symbols: S = population, T = horizon; the sampling distributions are those of `planning/action_sequences.py`: truncated
normal for a `Box` of actions, categorical for `Discrete` ones.
The plan is the center of the sampling distribution (the mean; the most probable choices), as published: of all centers
since the start of the search, the warm start among them, the one with the least expected cost.  Only as long as no
center has a finite cost, it is the cheapest sample instead; and where no sample has one either, the warm start.
Source: Chua et al. (2018), appendix A.2, and Botev et al. (2013).
Differs: centers are scored too, and samples of infinite cost are never elites.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Plan, Problem
from forethought.core.settings import settings
from forethought.planning.action_sequences import Sequences, first_mean, sequences_around
from forethought.planning.anytime import run_search
from forethought.planning.candidates import BestSequence, Elites
from forethought.planning.noise import quick_split
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_elites, check_sampling


class CEMState(eqx.Module):
    """The warm start: the mean of the first sampling distribution, of discrete actions their probabilities."""

    mean: Float[Array, "T m"]


class CEMSearch(eqx.Module):
    """The sampling distribution, the cheapest center whose cost is known, and the cheapest sample.

    The cost of the present center is not known: it is a candidate of the next iteration, or scored in `finish`.
    """

    sampling: Sequences
    best: BestSequence
    sample: BestSequence
    key: PRNGKeyArray  # of the particles that the last candidates were scored with


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
        """Start in the middle of the action range, or with equal probabilities."""
        return CEMState(first_mean(problem.task.action_space, self.horizon))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: CEMState, *, key: PRNGKeyArray
    ) -> tuple[Plan, CEMState]:
        """The cheapest mean, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: CEMState) -> CEMSearch:
        """Around the warm start, as wide as the space allows."""
        sampling = sequences_around(problem.task.action_space, state.mean.astype(x0.dtype))
        none = BestSequence.none_yet(sampling.center, x0.dtype)
        return CEMSearch(sampling, none, none, jr.key(0))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch, i: int, *, key: PRNGKeyArray
    ) -> CEMSearch:
        """Score the center and samples around it, refit to the elites."""
        del i
        sampling = search.sampling
        sample_key, cost_key = quick_split(key, 2)
        us = jnp.concatenate([sampling.center[None], sampling.sample(self.population - 1, key=sample_key)])
        costs = self._costs(problem, x0, us, key=cost_key)
        elites = Elites.of(us, costs, self.elites)
        best = search.best.or_cheaper(us[0], costs[0])
        sample = search.sample.or_cheaper(elites.us[0], elites.costs[0])
        return CEMSearch(sampling.refitted(elites, self.momentum), best, sample, cost_key)

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: CEMSearch) -> tuple[Plan, CEMState]:
        """The cheapest center; the last distribution is the warm start."""
        center = search.sampling.center
        cost = self._costs(problem, x0, center[None], key=search.key)[0]
        best = search.best.or_cheaper(center, cost).or_else(search.sample.us, search.sample.cost)
        warm = CEMState(search.sampling.one_step_later())
        return open_loop_plan(problem, x0, best.us, best.cost), warm

    def _costs(
        self, problem: Problem, x0: Float[Array, "n"], us: Shaped[Array, "S T *m"], *, key: PRNGKeyArray
    ) -> Float[Array, "S"]:
        return expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=key)
