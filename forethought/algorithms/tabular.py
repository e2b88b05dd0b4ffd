"""What the tabular algorithms share: their state, the update of Q-learning, and rounds of episodes.

Symbols: S states, A actions, Q [S, A] action values, gamma the discount, alpha the step size.
A tabular algorithm has `learn(state, row, key) -> state`: what happens after one real step.
"""

import math
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.protocol import Info
from forethought.core import Box, Controller, Discrete, Observations, Transition, UsageError
from forethought.envs.env import Env, spaces_of
from forethought.envs.episode import join_pieces
from forethought.models.tabular import Outcome, TabularModel
from forethought.policies.acting import Acting
from forethought.policies.epsilon_greedy import EpsilonGreedy

GRID = 10  # intervals for each coordinate of the grid that an error message describes
MOST_CELLS = 50_000_000  # entries of the model's largest table


class TabularState(eqx.Module):
    """Action values, the model, and how many updates of an action value there were."""

    q: Float[Array, "S A"]
    model: TabularModel
    updates: Int[Array, ""]


@runtime_checkable
class TabularAlgorithm(Protocol):
    """Settings of a tabular algorithm: its exploration, and its learning from one real step."""

    @property
    def epsilon(self) -> float:
        """The probability of a random action."""
        ...

    def empty(self, states: int, actions: int) -> Any:
        """The state before any experience: `q`, `model`, `updates` and whatever else the algorithm needs."""
        ...

    def learn(self, state: Any, row: Transition, *, key: PRNGKeyArray) -> Any:
        """The state after one real step, whose `x`, `u` and `x_next` are the numbers s, a and s'."""
        ...


def empty_state(states: int, actions: int, *, initial_value: float, outcomes: int) -> TabularState:
    """All action values equal, and a model that knows nothing."""
    q = jnp.full((states, actions), initial_value, jnp.result_type(float))
    return TabularState(q, TabularModel.empty(states, actions, outcomes), jnp.zeros((), jnp.int32))


def outcome_of(row: Transition) -> Outcome:
    """What one real step showed."""
    return Outcome(row.x_next, row.reward, row.terminated, jnp.ones((), bool))


def q_update(
    q: Float[Array, "S A"],
    s: Int[Array, ""],
    a: Int[Array, ""],
    outcome: Outcome,
    *,
    step_size: float,
    discount: float,
) -> Float[Array, "S A"]:
    """Q(s, a) <- Q(s, a) + alpha [R + gamma max_a' Q(S', a') - Q(s, a)]; a terminal S' has value 0.

    Source: Sutton & Barto (2018), equation 6.8.
    """
    value = jnp.where(outcome.terminal, 0, jnp.max(q[outcome.x_next]))
    return q.at[s, a].add(step_size * (outcome.reward + discount * value - q[s, a]))


def table_size(env: Env, outcomes: int = 1) -> tuple[int, int]:
    """S and A, of an environment with discrete observations and actions.

    Raises:
        UsageError: they are not discrete, or the tables do not fit into memory.
    """
    spaces = spaces_of(env)
    states, actions = spaces.observations.states, spaces.actions
    if states is None or not isinstance(actions, Discrete):
        raise UsageError(_not_discrete(env.name, spaces.observations, actions))
    cells = states * actions.n * outcomes
    if cells > MOST_CELLS:
        raise UsageError(
            f"{env.name} has {states:,} states and {actions.n} actions: with {outcomes} outcomes of each pair the "
            f"table has {cells:,} cells, and at most {MOST_CELLS:,} are supported. Lower --outcomes, or use PPO."
        )
    return states, actions.n


def _not_discrete(name: str, observations: Observations, actions: Box | Discrete) -> str:
    """One line with the size of the table that a grid would need."""
    states = observations.states
    cells = GRID**observations.size if states is None else states
    cells *= actions.n if isinstance(actions, Discrete) else GRID**actions.size
    shown = f"{cells:,}" if cells < 10**12 else f"10^{math.log10(cells):.0f}"
    seen = f"observes {observations}" if states is None else f"has {states:,} states"
    acts = f"{actions.n} actions" if isinstance(actions, Discrete) else f"{actions.size} continuous action coordinates"
    return (
        f"A tabular method needs discrete observations and actions; {name} {seen} and has {acts}: a grid of {GRID} "
        f"intervals for each coordinate would have {shown} cells. Use pets, sac or ppo."
    )


def run_round(
    algorithm: TabularAlgorithm, state: Any, env: Env, episodes: int, *, key: PRNGKeyArray
) -> tuple[Any, Info]:
    """`episodes` whole episodes with the epsilon-greedy policy; the table is updated after every step."""
    observations, done, before = spaces_of(env).observations, [], int(jnp.sum(state.model.count > 0))
    state = jax.tree.map(jnp.copy, state)  # updated in place from here on
    for i in range(episodes):
        episode_key, learn_key = jr.split(jr.fold_in(key, i))
        episode, rows = env.start(key=episode_key), []
        while not episode.over:
            policy = EpsilonGreedy(jnp.copy(state.q), algorithm.epsilon, observations)
            rows.append(episode.advance(Acting(policy), steps=1))
            state = _learn((algorithm, observations, rows[-1], np.int32(len(rows)), learn_key), state)
        done.append(join_pieces(rows))
    tried, steps = int(jnp.sum(state.model.count > 0)), sum(map(len, done))
    metrics: dict[str, float | None] = {
        "states_visited": float(state.model.visited),
        "pairs_tried": float(tried),
        "known_steps": 1 - (tried - before) / steps,
        "updates": float(state.updates),
    }
    return state, Info(done, metrics)


def greedy(state: Any, env: Env) -> Controller:
    """The best action by Q; the first one if several are."""
    return Acting(EpsilonGreedy(state.q, 0.0, spaces_of(env).observations), mode=True)


def check_settings(settings: Any) -> None:
    """Raise `ValueError` for settings out of range."""
    name = type(settings).__name__
    for field, inside, expected in (
        ("step_size", 0 < settings.step_size <= 1, "above 0 and at most 1"),
        ("discount", 0 <= settings.discount <= 1, "from 0 to 1"),
        ("epsilon", 0 <= settings.epsilon <= 1, "from 0 to 1"),
        ("initial_value", math.isfinite(settings.initial_value), "finite"),
        ("outcomes", settings.outcomes >= 1, "at least 1"),
        ("round_episodes", settings.round_episodes >= 1, "at least 1"),
        ("planning_steps", getattr(settings, "planning_steps", 0) >= 0, "at least 0"),
        ("kappa", 0 <= getattr(settings, "kappa", 0.0) < math.inf, "finite and at least 0"),
        ("theta", 0 <= getattr(settings, "theta", 0.0) < math.inf, "finite and at least 0"),
    ):
        if not inside:
            raise ValueError(f"{name}.{field} must be {expected}, got {getattr(settings, field)}.")


@eqx.filter_jit(donate="all-except-first")
def _learn(fixed: tuple[TabularAlgorithm, Observations, Transition, Any, PRNGKeyArray], state: Any) -> Any:
    """`learn` from an episode's piece of one step."""
    algorithm, observations, piece, t, key = fixed
    row = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], piece)
    row = Transition(
        observations.state_index(row.x),
        row.u,
        observations.state_index(row.x_next),
        row.reward,
        row.terminated,
        row.truncated,
    )
    return algorithm.learn(state, row, key=jr.fold_in(key, t))
