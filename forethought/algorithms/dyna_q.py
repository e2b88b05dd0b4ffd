"""Dyna-Q: Q-learning on real steps and on steps that a table of past outcomes repeats.  Discrete states and actions.

Without planning steps it is Q-learning (section 6.5).
Source: Sutton & Barto (2018), section 8.2, box "Tabular Dyna-Q".
Differs: the model may keep several outcomes of each pair (`outcomes`) and draws one of them, for environments that are
not deterministic.
"""

import jax
import jax.random as jr
from jaxtyping import PRNGKeyArray

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


@settings
class DynaQ:
    """Settings of Dyna-Q."""

    planning_steps: int = 5  # n: updates on simulated steps after each real step; 0 is Q-learning
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
        """Lines (d) to (f) of the box; (a) to (c) are the environment's."""
        how = {"step_size": self.step_size, "discount": self.discount}
        q = q_update(state.q, row.x, row.u, outcome_of(row), **how)  # line (d)
        model = state.model.observe(row)  # line (e)

        def plan(q, u):
            s, a = model.tried_pair(u[:2])
            return q_update(q, s, a, model.outcome(s, a, u[2]), **how), None

        q, _ = jax.lax.scan(plan, q, jr.uniform(key, (self.planning_steps, 3)))  # line (f)
        return TabularState(q, model, state.updates + 1 + self.planning_steps)

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
