"""A compiled game that is learned at once: press the button of the column in which a dot is."""

from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.core import Categorical, Discrete, Observations, Transition
from forethought.dynamics.space import StateSpace
from forethought.envs.compiled import CompiledEpisode, Step
from forethought.envs.episode import run_episode
from forethought.tasks.function_task import FunctionTask

SIDE = 4  # pixels


class DotSystem(eqx.Module):
    """The state is the column of the dot; after every step it is another one."""

    actions: int = eqx.field(static=True)
    channels: int = eqx.field(static=True)

    def first(self, *, key, sensor_key):
        column = jr.randint(key, (), 0, self.actions)
        return column, self.image(column)

    def step(self, state, x, wish, t, *, key):
        u = jnp.clip(wish, 0, self.actions - 1).astype(jnp.int32)
        column, _ = self.first(key=jr.fold_in(key, t), sensor_key=key)
        no = jnp.zeros((), bool)
        reward = (u == state).astype(jnp.float32)
        return column, Step(Transition(x, u, self.image(column), reward, no, no), jnp.ones((), bool))

    def image(self, column):
        return jnp.zeros((SIDE, SIDE, self.channels), bool).at[1:3, column, self.channels - 1].set(True)


class DotGame(eqx.Module):
    """Episodes of 8 steps."""

    name: str = eqx.field(static=True)
    system: DotSystem
    task: FunctionTask
    observations: Observations
    space: StateSpace
    learn_reward: ClassVar[bool] = True
    learn_termination: ClassVar[bool] = True

    run = run_episode

    def start(self, *, key, reset_key=None, options=None, frames=None):
        start_key, act_key, step_key = jr.split(key, 3)
        state, x = self.system.first(key=start_key if reset_key is None else reset_key, sensor_key=key)
        return CompiledEpisode(self, state, x, act_key, step_key, frames)

    def pictures(self, episode, start=0):
        return [self.picture(x) for x in (*episode.x, episode.x_next[-1])]

    def picture(self, x, u=None, seconds=0.0):
        return np.zeros((16, 16, 3), np.uint8)


def dot_game(name: str, actions: int, channels: int) -> DotGame:
    observations = Observations((SIDE, SIDE, channels), "bool")
    task = FunctionTask(8, 1.0, Discrete(actions))
    return DotGame(name, DotSystem(actions, channels), task, observations, StateSpace(observations.size))


class DotExpert(eqx.Module):
    """Nearly always right; `skill` is the logit of the right action."""

    actions: int = eqx.field(static=True)
    skill: float = 5.0

    def __call__(self, x):
        return Categorical(self.skill * jnp.any(x, axis=(0, 2))[: self.actions].astype(jnp.float32))

    def draw(self, *, key):
        return self
