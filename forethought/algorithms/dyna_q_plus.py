"""Dyna-Q+: Dyna-Q with a bonus for pairs that were not tried for long.  Discrete states and actions.

In planning, the reward of a pair (s, a) that was last tried tau steps ago is R + kappa sqrt(tau).  Actions never tried
in a visited state belong to the model too: they lead back to the state with reward 0.  tau counts on across episodes,
from step 0 for an action never tried.
Source: Sutton & Barto (2018), section 8.3 and the footnote of page 168.
Differs: several outcomes of each pair, as in Dyna-Q.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.protocol import Info
from forethought.algorithms.tabular import (
    TabularState,
    check_settings,
    empty_state,
    greedy,
    outcome_of,
    q_update,
    run_round,
    table_size,
)
from forethought.core import Controller, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.models.tabular import Outcome, TabularModel


@settings
class DynaQPlus:
    """Settings of Dyna-Q+."""

    planning_steps: int = 10  # n: updates on simulated steps after each real step
    kappa: float = 1e-4  # bonus for the square root of a step without a try, in units of the reward
    step_size: float = 0.1  # alpha; Sutton & Barto (2018), example 8.1
    discount: float = 0.95  # gamma; Sutton & Barto (2018), example 8.1
    epsilon: float = 0.1  # probability of a random action; Sutton & Barto (2018), example 8.1
    initial_value: float = 0.0  # of every Q(s, a)
    outcomes: int = 1  # latest outcomes of each (s, a) that the model keeps; 1 for a deterministic environment
    round_episodes: int = 1  # episodes of a round

    def __post_init__(self):
        """Refuse settings out of range."""
        check_settings(self)

    def learn(self, state: TabularState, row: Transition, *, key: PRNGKeyArray) -> TabularState:
        """As Dyna-Q, but for the bonus and the untried actions in planning."""
        how = {"step_size": self.step_size, "discount": self.discount}
        q = q_update(state.q, row.x, row.u, outcome_of(row), **how)
        model = state.model.observe(row)

        def plan(q, u):
            s, a = model.visited_pair(u[:2])
            outcome = stay_if_unknown(s, model.outcome(s, a, u[2]))
            outcome = eqx.tree_at(lambda o: o.reward, outcome, outcome.reward + self.bonus(model, s, a))
            return q_update(q, s, a, outcome, **how), None

        q, _ = jax.lax.scan(plan, q, jr.uniform(key, (self.planning_steps, 3)))
        return TabularState(q, model, state.updates + 1 + self.planning_steps)

    def bonus(self, model: TabularModel, s: Int[Array, ""], a: Int[Array, ""]) -> Float[Array, ""]:
        """Kappa sqrt(tau)."""
        return self.kappa * jnp.sqrt((model.time - model.last[s, a]).astype(model.reward.dtype))

    def empty(self, states: int, actions: int) -> TabularState:
        """The state before any experience."""
        return empty_state(states, actions, initial_value=self.initial_value, outcomes=self.outcomes)

    def init(self, env: Env, *, key: PRNGKeyArray) -> TabularState:
        """The state before any experience; raises `UsageError` unless observations and actions are discrete."""
        del key
        return self.empty(*table_size(env, self.outcomes))

    def iterate(self, state: TabularState, env: Env, *, key: PRNGKeyArray) -> tuple[TabularState, Info]:
        """Whole episodes."""
        return run_round(self, state, env, self.round_episodes, key=key)

    def controller(self, state: TabularState, env: Env) -> Controller:
        """The greedy policy."""
        return greedy(state, env)


def stay_if_unknown(s: Int[Array, ""], outcome: Outcome) -> Outcome:
    """The outcome, or for an unknown one the same state with reward 0."""
    return eqx.tree_at(lambda o: o.x_next, outcome, jnp.where(outcome.known, outcome.x_next, s))
