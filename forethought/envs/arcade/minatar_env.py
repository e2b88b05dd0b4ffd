"""MinAtar: five small games in the manner of Atari, images of 10 x 10 pixels with one channel for each kind of object.

The games are pgx's translation to JAX of version 1 of MinAtar: a game has only the actions that have an effect in it;
an action is replaced by the previous one with probability 0.1 (sticky actions); difficulty rises during an episode.
An observation is bool [10, 10, channels].
Source: Young & Tian (2019), MinAtar; Koyamada et al. (2023), Pgx.
Differs: MinAtar has no time limit; here an episode is truncated after `HORIZON` steps: some policies never lose.
"""

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from forethought.core import Discrete, Observations, Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.arcade.minatar_games import full_id, minatar_game
from forethought.envs.compiled import CompiledEpisode, Step
from forethought.envs.episode import run_episode
from forethought.tasks.function_task import FunctionTask

HORIZON = 5000  # steps
DT = 0.05  # s per step: MinAtar shows 20 pictures per second
SIDE = 40  # pixels of a cell in a picture
# One color for each channel: the ten of Okabe & Ito (2008) and matplotlib that differ most on black.
COLORS = np.array(
    [
        (86, 180, 233),
        (230, 159, 0),
        (204, 121, 167),
        (0, 158, 115),
        (240, 228, 66),
        (213, 94, 0),
        (0, 114, 178),
        (255, 255, 255),
        (150, 150, 150),
        (160, 90, 200),
    ],
    np.uint8,
)


class MinAtarSystem(eqx.Module):
    """The steps of a game; see `CompiledSystem`.  A state is pgx's, without its observation."""

    pgx_env: Any = eqx.field(static=True)

    def first(self, *, key: PRNGKeyArray, sensor_key: PRNGKeyArray) -> tuple[Any, Bool[Array, "10 10 c"]]:
        """An initial state and its image."""
        del sensor_key
        with jax.numpy_rank_promotion("allow"):  # pgx relies on it
            return _apart(self.pgx_env.init(key))

    def step(
        self, state: Any, x: Bool[Array, "10 10 c"], wish: Int[Array, ""], t: Int[Array, ""], *, key: PRNGKeyArray
    ) -> tuple[Any, Step]:
        """The state after an action, and the record of the step."""
        u = jnp.clip(wish, 0, state.legal_action_mask.shape[0] - 1).astype(jnp.int32)
        with jax.numpy_rank_promotion("allow"):
            after, x_next = _apart(self.pgx_env.step(state, u, jr.fold_in(key, t)))
        reward = after.rewards[0].astype(jnp.result_type(float))
        row = Transition(x, u, x_next, reward, after.terminated, jnp.zeros((), bool))
        return after, Step(row, jnp.ones((), bool))


class MinAtarEnv(eqx.Module):
    """A game as an environment; see `Env`.  Rewards and terminal states are not known as functions."""

    name: str = eqx.field(static=True)
    system: MinAtarSystem
    task: FunctionTask
    observations: Observations
    space: StateSpace

    learn_reward: ClassVar[bool] = True
    learn_termination: ClassVar[bool] = True

    run = run_episode

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> CompiledEpisode:
        """A new episode; see `Env.start`.  There are no options.

        Raises:
            UsageError: options.
        """
        if options:
            raise UsageError(f"{self.name} has no reset options; got {sorted(options)}.")
        start_key, controller_key, step_key = jr.split(key, 3)
        state, x = _first(self.system, start_key if reset_key is None else reset_key)
        return CompiledEpisode(self, state, x, controller_key, step_key, frames)

    def pictures(self, episode: Transition, start: int = 0) -> list[np.ndarray]:
        """The T + 1 images of steps as RGB pictures."""
        del start
        return [self.picture(x) for x in (*episode.x, episode.x_next[-1])]

    def picture(self, x: np.ndarray, u: Any = None, seconds: float = 0.0) -> np.ndarray:
        """An image as an RGB picture [400, 400, 3] uint8; where objects overlap, the last channel is shown."""
        del u, seconds
        picture = np.zeros((*x.shape[:2], 3), np.uint8)
        for channel, color in enumerate(COLORS[: x.shape[-1]]):
            picture[np.asarray(x[..., channel])] = color
        return picture.repeat(SIDE, axis=0).repeat(SIDE, axis=1)


def minatar_env(id: str, horizon: int | None = None) -> MinAtarEnv:
    """The game with this id, such as "MinAtar/Breakout-v1"; episodes of at most `horizon` steps, `HORIZON` by default.

    Raises:
        UsageError: there is no such game, or the extra `games` is not installed.
    """
    game = minatar_game(id)
    pgx_env, shape, actions = _pgx_game(game.pgx_id)
    task = FunctionTask(horizon or HORIZON, DT, Discrete(actions))
    observations = Observations(shape, "bool")
    return MinAtarEnv(full_id(id), MinAtarSystem(pgx_env), task, observations, StateSpace(observations.size))


@cache
def _pgx_game(pgx_id: str) -> tuple[Any, tuple[int, ...], int]:
    """The game of pgx, the shape of its images and the number of its actions; one object, so that it compiles once."""
    try:
        pgx = importlib.import_module("pgx")
    except ImportError as problem:
        raise UsageError("MinAtar needs pgx: pip install 'forethought[games]'.") from problem
    env = pgx.make(pgx_id)
    with jax.numpy_rank_promotion("allow"):
        state = jax.eval_shape(env.init, jr.key(0))
    return env, state.observation.shape, state.legal_action_mask.shape[0]


@eqx.filter_jit
def _first(system: MinAtarSystem, key: PRNGKeyArray) -> tuple[Any, Array]:
    return system.first(key=key, sensor_key=key)


def _apart(state: Any) -> tuple[Any, Array]:
    """A state of pgx without its observation, and the observation."""
    return state.replace(observation=jnp.zeros(0, bool)), state.observation
