"""iCEM: the cross-entropy method made sample-efficient for control.

Beyond CEM: colored noise (power spectral density 1 / f^beta), so that actions are correlated in time; a
population that decays from iteration to iteration; elites kept within a plan and shifted to the next step; the mean
is a candidate in the last iteration; the plan is the cheapest sequence of the search, not the mean.
Source: Pinneri et al. (2020), "Sample-efficient cross-entropy method for real-time planning", algorithm 1.
Differs: noise is colored by a circulant filter of white noise, which has the same spectrum and is one small matrix
product; samples of infinite cost are never elites; in the last iteration the mean takes the place of a sample, so that
iterations of one population share a program.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.anytime import one_step_later, run_search
from forethought.planning.candidates import BestSequence, Elites
from forethought.planning.noise import color_filter, quick_normal, quick_split
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_elites, check_sampling


class ICEMState(eqx.Module):
    """The warm start: the mean of the first sampling distribution, and the elites that are kept."""

    mean: Float[Array, "T m"]
    elites: Float[Array, "kept T m"]


class ICEMSearch(eqx.Module):
    """The sampling distribution, the elites that are kept, and the cheapest sequence so far."""

    iteration: Int[Array, ""]
    mean: Float[Array, "T m"]
    std: Float[Array, "T m"]
    kept: Float[Array, "kept T m"]
    best: BestSequence


@settings
class ICEM:
    """Settings of iCEM: more samples than in the paper, so that swing-ups succeed without tuning."""

    horizon: int = 12  # planning horizon, steps
    population: int = 300  # action sequences in the first iteration
    decay: float = 1.0  # factor by which the population shrinks in each iteration; 1.25 in the paper
    elites: int = 10  # cheapest sequences, to which the sampling distribution is refitted
    iterations: int = 5  # refits of the sampling distribution per plan
    kept: float = 0.3  # share of the elites kept for the next iteration and the next step
    momentum: float = 0.1  # weight of the old mean and std in a refit, in [0, 1]
    noise: float = 0.5  # initial std, as a share of half the action range
    beta: float = 1.0  # color of the noise: 0 white, 1 pink, 2 red; higher is smoother
    particles: int = 5  # particles per sequence, a multiple of the ensemble's members; 1 where the model is certain
    propagation: Propagation = "ts-inf"  # propagation of particles through the model: ts-inf, ts1 or mean

    def __post_init__(self):
        """Refuse settings that cannot work."""
        check_sampling(self, ("horizon", "population", "elites", "iterations", "particles"))
        check_elites(self)
        for name, low, high in (("kept", 0, 1), ("momentum", 0, 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"ICEM.{name} must be in [{low}, {high}], got {getattr(self, name)}.")
        if self.decay < 1 or self.noise <= 0 or self.beta < 0:
            raise ValueError(
                f"ICEM needs decay >= 1, noise > 0 and beta >= 0; got {self.decay}, {self.noise} and {self.beta}."
            )

    @property
    def kept_count(self) -> int:
        """How many elites are kept."""
        return max(1, round(self.kept * self.elites)) if self.kept > 0 else 0

    def init(self, problem: Problem) -> ICEMState:
        """Start in the middle of the action range."""
        middle = box_of(problem.task).center
        mean = jnp.broadcast_to(middle, (self.horizon, middle.shape[0]))
        return ICEMState(mean, jnp.broadcast_to(mean, (self.kept_count, *mean.shape)))

    def with_guess(self, state: ICEMState, us: Float[Array, "T m"]) -> ICEMState:
        """The search begins around `us`, which also takes the place of one of the kept elites."""
        us = us.astype(state.mean.dtype)
        return ICEMState(us, state.elites.at[:1].set(us[None]))

    def stage(self, i: int) -> int:
        """The first iteration with the population of iteration `i`."""
        return next(first for first in range(i + 1) if self._population(first) == self._population(i))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: ICEMState, *, key: PRNGKeyArray
    ) -> tuple[Plan, ICEMState]:
        """The cheapest sequence, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: ICEMState) -> ICEMSearch:
        """Around the warm start; nothing is scored yet."""
        mean, elites = state.mean.astype(x0.dtype), state.elites.astype(x0.dtype)
        std = jnp.broadcast_to(self.noise * box_of(problem.task).half_range[None].astype(x0.dtype), mean.shape)
        return ICEMSearch(jnp.array(0), mean, std, elites, BestSequence.none_yet(mean))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: ICEMSearch, i: int, *, key: PRNGKeyArray
    ) -> ICEMSearch:
        """Sample, score with the elites that were kept, refit.  In the last iteration the mean is a candidate too."""
        box, mean, std = box_of(problem.task), search.mean, search.std
        sample_key, cost_key = quick_split(key, 2)
        noise = self._colored((self._population(i), *mean.shape), mean.dtype, key=sample_key)
        samples = jnp.clip(mean[None] + std[None] * noise, box.low[None, None], box.high[None, None])
        is_last = search.iteration >= self.iterations - 1
        samples = samples.at[0].set(jnp.where(is_last, mean, samples[0]))
        us = jnp.concatenate([samples, search.kept])
        costs = expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)
        elites = Elites.of(us, costs, self.elites)
        fitted_mean, fitted_var = elites.refitted(mean, std**2)
        keep = self.momentum
        return ICEMSearch(
            iteration=search.iteration + 1,
            mean=keep * mean + (1 - keep) * fitted_mean,
            std=keep * std + (1 - keep) * jnp.sqrt(fitted_var),
            kept=elites.kept(self.kept_count, search.kept),
            best=search.best.or_cheaper(elites.us[0], elites.costs[0]),
        )

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: ICEMSearch) -> tuple[Plan, ICEMState]:
        """The cheapest sequence; the mean and the kept elites, one step later, are the warm start."""
        warm = ICEMState(one_step_later(search.mean), jax.vmap(one_step_later)(search.kept))
        return open_loop_plan(problem, x0, search.best.us, search.best.cost), warm

    def _population(self, iteration: int) -> int:
        """Source: algorithm 1, line 5."""
        return max(int(self.population * self.decay**-iteration), 2 * self.elites)

    def _colored(self, shape: tuple[int, ...], dtype, *, key: PRNGKeyArray) -> Float[Array, "S T m"]:
        """Noise of unit variance, correlated in time."""
        white = quick_normal(shape, dtype, key=key)
        return jnp.einsum("ts,bsm->btm", jnp.asarray(color_filter(shape[1], self.beta), dtype), white)
