"""Prioritized sweeping: planning backward from the states whose value changed most.  Discrete states and actions.

Symbols: queue [S, A], the priority of each pair (s, a); 0 for a pair that is not on the queue.
Source: Sutton & Barto (2018), section 8.4, box "Prioritized sweeping for a deterministic environment".
Differs: updates and priorities use the expectation over the outcomes that the model keeps (`outcomes`); with one
outcome this is the box.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.protocol import Info
from forethought.algorithms.tabular import check_settings, empty_state, greedy, run_round, table_size
from forethought.core import Controller, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.models.tabular import TabularModel


class SweepingState(eqx.Module):
    """Action values, the model, the queue, and how many updates of an action value there were."""

    q: Float[Array, "S A"]
    model: TabularModel
    queue: Float[Array, "S A"]
    updates: Int[Array, ""]


@settings
class PrioritizedSweeping:
    """Settings of prioritized sweeping."""

    planning_steps: int = 5  # n: most updates after each real step; Sutton & Barto (2018), example 8.4
    theta: float = 1e-4  # smallest priority that enters the queue, in units of the reward
    step_size: float = 0.5  # alpha
    discount: float = 0.95  # gamma
    epsilon: float = 0.1  # probability of a random action; Sutton & Barto (2018), example 8.4
    initial_value: float = 0.0  # of every Q(s, a)
    outcomes: int = 1  # latest outcomes of each (s, a) that the model keeps; 1 for a deterministic environment
    round_episodes: int = 1  # episodes of a round

    def __post_init__(self):
        """Refuse settings out of range."""
        check_settings(self)

    def learn(self, state: SweepingState, row: Transition, *, key: PRNGKeyArray) -> SweepingState:
        """Lines (d) to (g) of the box; (a) to (c) are the environment's."""
        del key
        model = state.model.observe(row)  # line (d)
        target = model.expected_target(jnp.max(state.q, axis=1), row.x, row.u, self.discount)
        priority = jnp.abs(target - state.q[row.x, row.u])  # line (e)
        queue = state.queue.at[row.x, row.u].max(jnp.where(priority > self.theta, priority, 0))  # line (f)

        def wanted(at):
            _, queue, done = at
            return (done < self.planning_steps) & jnp.any(queue > 0)

        def sweep(at):
            q, queue, done = at
            s, a = jnp.unravel_index(jnp.argmax(queue), queue.shape)
            target = model.expected_target(jnp.max(q, axis=1), s, a, self.discount)
            q, queue = q.at[s, a].add(self.step_size * (target - q[s, a])), queue.at[s, a].set(0)
            priority = self.priorities(q, model)
            enters = model.predecessors(s) & (priority > self.theta)
            return q, jnp.where(enters, jnp.maximum(queue, priority), queue), done + 1

        start = state.q, queue, jnp.zeros((), jnp.int32)
        q, queue, done = jax.lax.while_loop(wanted, sweep, start)  # line (g)
        return SweepingState(q, model, queue, state.updates + done)

    def priorities(self, q: Float[Array, "S A"], model: TabularModel) -> Float[Array, "S A"]:
        """The absolute error of every pair's value, |E[R + gamma max_a' Q(S', a')] - Q(s, a)|."""
        return jnp.abs(model.expected_targets(jnp.max(q, axis=1), self.discount) - q)

    def empty(self, states: int, actions: int) -> SweepingState:
        """The state before any experience."""
        plain = empty_state(states, actions, initial_value=self.initial_value, outcomes=self.outcomes)
        return SweepingState(plain.q, plain.model, jnp.zeros_like(plain.q), plain.updates)

    def init(self, env: Env, *, key: PRNGKeyArray) -> SweepingState:
        """The state before any experience; raises `UsageError` unless observations and actions are discrete."""
        del key
        return self.empty(*table_size(env, self.outcomes))

    def iterate(self, state: SweepingState, env: Env, *, key: PRNGKeyArray) -> tuple[SweepingState, Info]:
        """Whole episodes."""
        return run_round(self, state, env, self.round_episodes, key=key)

    def controller(self, state: SweepingState, env: Env) -> Controller:
        """The greedy policy."""
        return greedy(state, env)
