"""MPPI: model-predictive path integral control, by importance weights over sampled action sequences.

Symbols: base distribution p of action sequences, N(middle, Sigma); sampling distribution q, N(mean, Sigma), with
Sigma = C C' (in time) times diag std^2 (over actions), so that a sample is mean + std C w with white w [T, m];
S(us) what a sequence costs; temperature lambda, in units of cost.
The density that minimizes  E S + lambda KL(. || p)  is proportional to exp(-S / lambda) p; its mean is estimated by
    weight ~ exp(-(S(us) + control_cost lambda sum_t v_t' w_t) / lambda),     v = C^-1 (mean - middle) / std,
where the second term is -lambda log p/q up to a constant: the likelihood ratio, often written lambda mean' Sigma^-1 e.
Source: Williams et al. (2017), "Information theoretic MPC for model-based reinforcement learning", algorithm 2.
The plan is the weighted mean: of all means since the start of the search, the warm start among them, the one with the
least expected cost.  Only as long as no mean has a finite cost, it is the cheapest sample instead; and where no sample
has one either, the warm start.
Differs: the weighted mean is of the sequences clipped to the action limits, hence within them too; means are scored
too; noise may be colored; `control_cost` 0 drops the likelihood ratio (alpha = 1 in Williams et al., 2018).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import Plan, Problem, box_of
from forethought.core.settings import settings
from forethought.planning.anytime import one_step_later, run_search
from forethought.planning.candidates import BestSequence
from forethought.planning.noise import color_filter, quick_normal, quick_split
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_sampling


class MPPIState(eqx.Module):
    """The warm start: the mean of the first sampling distribution."""

    mean: Float[Array, "T m"]


class MPPISearch(eqx.Module):
    """The mean of the sampling distribution, the cheapest mean whose cost is known, and the cheapest sample.

    The cost of the present mean is not known: it is a candidate of the next iteration, or scored in `finish`.
    """

    mean: Float[Array, "T m"]
    best: BestSequence
    sample: BestSequence
    key: PRNGKeyArray  # of the particles that the last candidates were scored with


@settings
class MPPI:
    """Settings of MPPI."""

    horizon: int = 12  # planning horizon, steps
    population: int = 1000  # action sequences per iteration: the mean and samples around it
    iterations: int = 4  # updates of the mean per plan
    temperature: float = 0.1  # in units of cost: a sequence that costs this much more weighs 1/e
    noise: float = 0.3  # std of the samples, as a share of half the action range
    beta: float = 1.0  # color of the noise: 0 white, 1 pink, 2 red; higher is smoother
    control_cost: float = 1.0  # share of the pull toward the middle of the action range, in [0, 1]
    particles: int = 5  # particles per sequence, a multiple of the ensemble's members; 1 where the model is certain
    propagation: Propagation = "ts-inf"  # propagation of particles through the model: ts-inf, ts1 or mean

    def __post_init__(self):
        """Refuse settings that cannot work."""
        check_sampling(self, ("horizon", "population", "iterations", "particles"))
        if self.temperature <= 0 or self.noise <= 0 or self.beta < 0:
            got = f"{self.temperature}, {self.noise} and {self.beta}"
            raise ValueError(f"MPPI needs temperature > 0, noise > 0 and beta >= 0; got {got}.")
        if not 0 <= self.control_cost <= 1:
            raise ValueError(f"MPPI.control_cost must be in [0, 1], got {self.control_cost}.")

    def init(self, problem: Problem) -> MPPIState:
        """Start in the middle of the action range."""
        middle = box_of(problem.task).center
        return MPPIState(jnp.broadcast_to(middle, (self.horizon, middle.shape[0])))

    def with_guess(self, state: MPPIState, us: Float[Array, "T m"]) -> MPPIState:
        """The search begins around `us`."""
        return MPPIState(us.astype(state.mean.dtype))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: MPPIState, *, key: PRNGKeyArray
    ) -> tuple[Plan, MPPIState]:
        """The cheapest mean, and the warm start for the next step."""
        return run_search(self, problem, x0, state, key=key)

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: MPPIState) -> MPPISearch:
        """At the warm start; nothing is scored yet."""
        del problem
        mean = state.mean.astype(x0.dtype)
        none = BestSequence.none_yet(mean)
        return MPPISearch(mean, none, none, jr.key(0))

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: MPPISearch, i: int, *, key: PRNGKeyArray
    ) -> MPPISearch:
        """Score the mean and samples around it, take the weighted mean."""
        del i
        sample_key, cost_key = quick_split(key, 2)
        lower, upper = box_of(problem.task).low[None, None], box_of(problem.task).high[None, None]
        std = self.noise * (upper - lower) / 2
        white = self._white(search.mean, key=sample_key)
        us = jnp.clip(search.mean[:, None] + std * self._colored(white), lower, upper)
        costs = self._costs(problem, x0, jnp.moveaxis(us, 1, 0), key=cost_key)
        pull = self._whitened((search.mean - 0.5 * (lower + upper)[0]) / std[0])
        pulled = costs / self.temperature + self.control_cost * jnp.einsum("tm,tsm->s", pull, white)
        mean = jax.lax.dot_general(us, weights(pulled), (((1,), (0,)), ((), ())))
        usable = jnp.any(jnp.isfinite(pulled))
        mean = jnp.where(usable, jnp.clip(mean, lower[0], upper[0]), search.mean)
        best, cheapest = search.best.or_cheaper(search.mean, costs[0]), jnp.argmin(costs)
        return MPPISearch(mean, best, search.sample.or_cheaper(us[:, cheapest], costs[cheapest]), cost_key)

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: MPPISearch) -> tuple[Plan, MPPIState]:
        """The cheapest mean; the last one is the warm start."""
        cost = self._costs(problem, x0, search.mean[None], key=search.key)[0]
        best = search.best.or_cheaper(search.mean, cost).or_else(search.sample.us, search.sample.cost)
        return open_loop_plan(problem, x0, best.us, best.cost), MPPIState(one_step_later(search.mean))

    def _costs(
        self, problem: Problem, x0: Float[Array, "n"], us: Float[Array, "S T m"], *, key: PRNGKeyArray
    ) -> Float[Array, "S"]:
        return expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=key)

    def _white(self, mean: Float[Array, "T m"], *, key: PRNGKeyArray) -> Float[Array, "T S m"]:
        """White noise; none for the first sequence, which is the mean.  Time comes first, so that a rollout reads rows.

        Not in pairs +w, -w: from a symmetric state (a pendulum at rest) they cancel, and the mean does not move.
        """
        T, m = mean.shape
        white = quick_normal((T, self.population, m), mean.dtype, key=key)
        return jnp.where(jnp.arange(self.population)[None, :, None] == 0, 0, white)

    def _colored(self, white: Float[Array, "T S m"]) -> Float[Array, "T S m"]:
        if self.beta == 0:
            return white
        return jnp.einsum("ts,sbm->tbm", jnp.asarray(color_filter(self.horizon, self.beta), white.dtype), white)

    def _whitened(self, noise: Float[Array, "T m"]) -> Float[Array, "T m"]:
        """The white noise that is colored to `noise`."""
        if self.beta == 0:
            return noise
        return jnp.asarray(np.linalg.inv(color_filter(self.horizon, self.beta)), noise.dtype) @ noise


def weights(costs: Float[Array, "S"]) -> Float[Array, "S"]:
    """The normalized importance weights of costs in units of the temperature; zero where infinite."""
    return jax.nn.softmax(-costs)
