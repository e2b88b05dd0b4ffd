"""iCEM: the cross-entropy method made sample-efficient for control.

Beside CEM: colored noise (power spectral density 1 / f^beta), so that samples explore at the system's pace; a
population that decays from iteration to iteration; elites kept within a plan and shifted to the next step; the mean
tried as a candidate in the last iteration; the best sequence ever seen is executed, not the mean.
Source: Pinneri et al. (2020), "Sample-efficient cross-entropy method for real-time planning", algorithm 1.
Differs: noise is clipped to the action range, as theirs; it is colored by a circulant filter of white noise, which
has the same spectrum and is one small matrix product.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.anytime import one_step_later, run_search
from forethought.planning.noise import color_filter
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_elites, check_sampling


class ICEMState(eqx.Module):
    """The warm start: where the next search begins, and the elites shifted in time."""

    mean: Float[Array, "T m"]
    elites: Float[Array, "kept T m"]


class ICEMSearch(eqx.Module):
    """The sampling distribution, the elites kept, and the best sequence so far with its cost."""

    mean: Float[Array, "T m"]
    std: Float[Array, "T m"]
    kept: Float[Array, "kept T m"]
    best: Float[Array, "T m"]
    cost: Float[Array, ""]


@settings
class ICEM:
    """Settings of iCEM."""

    horizon: int = 30  # steps
    population: int = 64  # action sequences in the first iteration
    decay: float = 1.25  # the population shrinks by this factor in each iteration
    elites: int = 10  # the best, to which the distribution is refitted
    iterations: int = 3  # rounds of refinement
    kept: float = 0.3  # share of the elites that is kept for the next iteration and the next step
    momentum: float = 0.1  # share of the old mean and std that is kept, in [0, 1)
    noise: float = 0.5  # initial std, as a share of half the action range
    beta: float = 2.0  # color of the noise: 0 white, 1 pink, 2 red, higher is smoother
    particles: int = 5  # for each sequence; a multiple of the ensemble's members
    propagation: Propagation = "ts-inf"  # how particles believe in the model: ts-inf, ts1 or mean

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

    @property
    def stages(self) -> int:
        """Every iteration has its own population."""
        return self.iterations

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: ICEMState, *, key: PRNGKeyArray
    ) -> tuple[Plan, ICEMState]:
        """The best sequence found, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: ICEMState) -> ICEMSearch:
        """Around the warm start; nothing is tried yet."""
        reach = (box_of(problem.task).high - box_of(problem.task).low)[None] / 2
        std = jnp.broadcast_to(self.noise * reach, state.mean.shape)
        return ICEMSearch(state.mean, std, state.elites, state.mean, jnp.full((), jnp.inf, x0.dtype))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: ICEMSearch, i: int, *, key: PRNGKeyArray
    ) -> ICEMSearch:
        """Sample, score beside what was kept, refit.  The last iteration tries the mean too."""
        lower, upper = box_of(problem.task).low[None, None], box_of(problem.task).high[None, None]
        mean, std = search.mean, search.std
        sample_key, cost_key = jr.split(key)
        noise = self._colored((self._population(i), *mean.shape), mean.dtype, key=sample_key)
        fresh = jnp.clip(mean[None] + std[None] * noise, lower, upper)
        last = [mean[None]] if i == self.iterations - 1 else []
        us = jnp.concatenate([fresh, search.kept, *last])
        costs = expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)
        order = jax.lax.top_k(-costs, self.elites)[1]
        elites, lowest = us[order], costs[order[0]]
        return ICEMSearch(
            mean=self.momentum * mean + (1 - self.momentum) * jnp.mean(elites, axis=0),
            std=self.momentum * std + (1 - self.momentum) * jnp.std(elites, axis=0),
            kept=elites[: self.kept_count],
            best=jnp.where(lowest < search.cost, elites[0], search.best),
            cost=jnp.minimum(lowest, search.cost),
        )

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: ICEMSearch) -> tuple[Plan, ICEMState]:
        """The best sequence ever seen; mean and kept elites move one step on."""
        warm = ICEMState(one_step_later(search.mean), jax.vmap(one_step_later)(search.kept))
        return open_loop_plan(problem, x0, search.best, search.cost), warm

    def _population(self, iteration: int) -> int:
        """Source: algorithm 1, line 5."""
        return max(int(self.population * self.decay**-iteration), 2 * self.elites)

    def _colored(self, shape: tuple[int, ...], dtype, *, key: PRNGKeyArray) -> Float[Array, "S T m"]:
        """Noise of unit variance, correlated in time."""
        white = jr.normal(key, shape, dtype)
        return jnp.einsum("ts,bsm->btm", jnp.asarray(color_filter(shape[1], self.beta), dtype), white)
