"""An environment whose steps are reported while a round runs, and whose episodes are kept until it has ended."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Task, Trajectory, Transition
from forethought.dynamics.space import StateSpace
from forethought.envs.env import Env


def has_test(env: Env) -> bool:
    """Whether the task says when an episode solves it."""
    task = env.task
    xs, us = jnp.zeros((2, env.space.size)), jnp.zeros((1, task.action_space.size))
    trajectory = Trajectory(xs, us, jnp.zeros(2), jnp.ones(2, bool))
    return task.solved(trajectory) is not None


class MonitoredEnv:
    """An environment that reports every step to `on_step` and keeps its episodes until the round has ended.

    `on_step` is told the real steps since `start` and the return of the running episode.  It is always there, so that
    what is compiled, and with it every bit of the result, does not depend on whether progress is shown.
    """

    def __init__(self, env: Env, on_step: Callable[[int, float], None]):
        self.env, self.on_step = env, on_step
        self.episodes: list[Transition] = []

    def start(self) -> None:
        """A round begins."""
        self.episodes = []

    @property
    def name(self) -> str:
        return self.env.name

    @property
    def task(self) -> Task:
        return self.env.task

    @property
    def space(self) -> StateSpace:
        return self.env.space

    @property
    def learn_reward(self) -> bool:
        return self.env.learn_reward

    @property
    def learn_termination(self) -> bool:
        return self.env.learn_termination

    def run(
        self,
        controller: Controller,
        *,
        key: PRNGKeyArray,
        on_step: Callable[[int, float], None] | None = None,
        frames: list[np.ndarray] | None = None,
        steps: int | None = None,
    ) -> Transition:
        """One episode; see `Env.run`."""
        before = sum(len(episode) for episode in self.episodes)

        def report(done: int, episode_return: float) -> None:
            self.on_step(before + done, episode_return)
            if on_step is not None:
                on_step(done, episode_return)

        episode = self.env.run(controller, key=key, on_step=report, frames=frames, steps=steps)
        self.episodes.append(episode)
        return episode

    def __getattr__(self, name: str) -> Any:
        """Anything else the environment offers."""
        if name == "env":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.env, name)
