"""Random shooting: score action sequences drawn at random with the model, and keep the cheapest.

Source: Nagabandi et al. (2018), section IV.C.
Differs: the last plan, one step later, is a candidate too, so that a good plan is not lost at the next step;
each random action is held for three steps by default.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, Shaped

from forethought.core import Plan, Problem
from forethought.core.settings import settings
from forethought.planning.action_sequences import as_actions, first_sequence, uniform_sequences
from forethought.planning.anytime import one_step_later
from forethought.planning.candidates import BestSequence
from forethought.planning.noise import quick_split
from forethought.planning.particles import Propagation, expected_cost, open_loop_plan
from forethought.planning.validation import check_sampling


class RandomShootingState(eqx.Module):
    """The warm start: a candidate of the next search."""

    us: Shaped[Array, "T *m"]


@settings
class RandomShooting:
    """Settings of random shooting."""

    horizon: int = 12  # planning horizon, steps
    population: int = 3000  # action sequences: the last plan and others, uniform within the action limits
    hold: int = 3  # steps for which each random action is held
    particles: int = 5  # particles per sequence, a multiple of the ensemble's members; 1 where the model is certain
    propagation: Propagation = "ts-inf"  # propagation of particles through the model: ts-inf, ts1 or mean

    def __post_init__(self):
        """Refuse settings that cannot work."""
        check_sampling(self, ("horizon", "population", "hold", "particles"))

    @property
    def iterations(self) -> int:
        """One: its samples do not depend on earlier ones."""
        return 1

    def init(self, problem: Problem) -> RandomShootingState:
        """The middle of the action range, or the first choice."""
        return RandomShootingState(first_sequence(problem.task.action_space, self.horizon))

    def with_guess(self, state: RandomShootingState, us: Shaped[Array, "T *m"]) -> RandomShootingState:
        """`us` is a candidate."""
        return RandomShootingState(us.astype(state.us.dtype))

    def plan(
        self, problem: Problem, x0: Float[Array, "n"], state: RandomShootingState, *, key: PRNGKeyArray
    ) -> tuple[Plan, RandomShootingState]:
        """The cheapest of `population` sequences."""
        search = self.begin(problem, x0, state)
        return self.finish(problem, x0, self.improve(problem, x0, search, 0, key=key))

    def begin(self, problem: Problem, x0: Float[Array, "n"], state: RandomShootingState) -> BestSequence:
        """The warm start, not yet scored."""
        del problem
        return BestSequence.none_yet(as_actions(state.us, x0.dtype), x0.dtype)

    def improve(
        self, problem: Problem, x0: Float[Array, "n"], search: BestSequence, i: int, *, key: PRNGKeyArray
    ) -> BestSequence:
        """Score the best so far and `population` - 1 new sequences."""
        del i
        sample_key, cost_key = quick_split(key, 2)
        space, count = problem.task.action_space, self.population - 1
        us = uniform_sequences(space, count, self.horizon, x0.dtype, hold=self.hold, key=sample_key)
        us = jnp.concatenate([search.us[None], us])
        costs = expected_cost(problem, x0, us, particles=self.particles, propagation=self.propagation, key=cost_key)
        best = jnp.argmin(costs)
        return search.or_cheaper(us[best], costs[best])

    def finish(self, problem: Problem, x0: Float[Array, "n"], search: BestSequence) -> tuple[Plan, RandomShootingState]:
        """The cheapest sequence so far; one step later it is the warm start."""
        return open_loop_plan(problem, x0, search.us, search.cost), RandomShootingState(one_step_later(search.us))
