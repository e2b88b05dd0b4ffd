"""The protocol of a real (or simulated) system, and `collect`."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Task, Transition, UsageError
from forethought.dynamics.space import StateSpace


@runtime_checkable
class Env(Protocol):
    """A system that episodes can be run on.

    It carries nothing from one episode to the next: an episode is a function of controller and key, which is what
    makes an interrupted run resume exactly.
    """

    @property
    def name(self) -> str: ...

    @property
    def task(self) -> Task: ...

    @property
    def space(self) -> StateSpace: ...

    @property
    def learn_reward(self) -> bool:
        """Whether the task does not know its cost: it must be learned from the rewards seen."""
        ...

    @property
    def learn_termination(self) -> bool:
        """Whether the task does not know its terminal states: they must be learned too."""
        ...

    def run(
        self,
        controller: Controller,
        *,
        key: PRNGKeyArray,
        on_step: Callable[[int, float], None] | None = None,
        frames: list[np.ndarray] | None = None,
        steps: int | None = None,
    ) -> Transition:
        """One episode, leading axis [T], numpy arrays.

        Args:
            controller: chooses the actions.
            key: seeds the environment and the controller.
            on_step: told the steps done and the return so far, now and then.
            frames: where given, RGB pictures [height, width, 3] uint8 are appended, T + 1 of them.
            steps: truncate the episode after so many, where the task's horizon is longer.

        Raises:
            EnvironmentFailure: the environment raised, or returned values that are not finite or of another shape;
                its `episode` holds the steps before that.
        """
        ...


def collect(env: Env, controller: Controller, *, steps: int | None = None, key: PRNGKeyArray) -> Transition:
    """One episode of `env` under `controller`, of at most `steps` steps, leading axis [T]."""
    return env.run(controller, key=key, steps=steps)


def collect_episodes(
    env: Env, controller: Controller, *, least_steps: int, steps: int | None = None, key: PRNGKeyArray
) -> list[Transition]:
    """Whole episodes, each of at most `steps` steps, until they have at least `least_steps` steps together."""
    episodes: list[Transition] = []
    while sum(len(episode) for episode in episodes) < least_steps:
        episodes.append(collect(env, controller, steps=steps, key=jr.fold_in(key, len(episodes))))
    return episodes


def learned_space(env: Env, *, integrate: bool) -> StateSpace:
    """The space that dynamics are learned in: with the velocities that the environment names, or every coordinate.

    Raises:
        UsageError: `integrate`, and it names none.
    """
    if not integrate:
        return env.space.without_velocities()
    if not env.space.velocities:
        raise UsageError(
            f"{env.name} does not say which coordinates are the velocities of others: give --velocities "
            "POSITION:VELOCITY ... or leave integrate out."
        )
    return env.space
