"""The protocol of a real (or simulated) system, and `collect`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Observations, Spaces, Task, Transition, UsageError
from forethought.dynamics.residual import Physics
from forethought.dynamics.space import StateSpace
from forethought.envs.episode import Episode, OnStep


@runtime_checkable
class Env(Protocol):
    """A system that episodes can be run on.

    It carries nothing from one episode to the next: an episode is a function of controller and keys, which is what
    makes an interrupted run resume exactly (`carries_state` tests it).
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

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> Episode:
        """A new episode in its initial state.

        Args:
            key: decides the noise of the environment and of the controller; the initial state too without `reset_key`.
            reset_key: alone decides the initial state: two episodes with the same one start alike, and with different
                `key`s their noise differs.
            options: what the environment's reset can be told besides a seed.
            frames: where given, RGB pictures [height, width, 3] uint8 are appended, one for each state.
        """
        ...

    def run(
        self,
        controller: Controller,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        on_step: OnStep | None = None,
        frames: list[np.ndarray] | None = None,
        steps: int | None = None,
    ) -> Transition:
        """One whole episode, leading axis [T], NumPy arrays; `envs.episode.run_episode` does it by `start`.

        Args:
            controller: chooses the actions.
            key: as in `start`.
            reset_key: as in `start`.
            options: as in `start`.
            on_step: told the steps done and the return so far, now and then.
            frames: as in `start`; T + 1 pictures.
            steps: truncate the episode after so many, where the task's horizon is longer.

        Raises:
            EnvironmentFailure: the environment raised, or returned values that are not finite or of another shape;
                its `episode` holds the steps before that.
        """
        ...


@runtime_checkable
class HasObservations(Protocol):
    """Capability of an environment that tells the shape and dtype of its observations."""

    @property
    def observations(self) -> Observations: ...


def physics_of(env: Env) -> Physics | None:
    """What `env` tells of its dynamics (its attribute `physics`), perhaps inexact; None where it tells nothing."""
    return getattr(env, "physics", None)  # not a protocol: from Python 3.12 on these do not see through a wrapper


def spaces_of(env: Env) -> Spaces:
    """What a learner must know of `env`: its observations (where it does not tell, real numbers [n]), its actions."""
    known = getattr(env, "observations", None)  # of `HasObservations`; an `isinstance` would not look through a monitor
    observations = known or Observations((env.space.size,), str(jnp.result_type(float)))
    if observations.is_vector:
        observations = replace(observations, angles=env.space.angles)
    return Spaces(observations, env.task.action_space)


def report_steps(env: Env, steps: int, episode_return: float) -> None:
    """Tell an environment that is monitored of `steps` steps done in this round outside its own episodes."""
    on_step = getattr(env, "on_step", None)
    if on_step is not None:
        on_step(steps, episode_return)


def tell_elapsed_steps(env: Env, steps: int) -> None:
    """Tell an environment that changes with the number of steps how many were made before its next episode."""
    if getattr(env, "nonstationary", False):
        env.elapsed_steps = steps  # type: ignore[attr-defined]


def collect(
    env: Env,
    controller: Controller,
    *,
    steps: int | None = None,
    reset_key: PRNGKeyArray | None = None,
    key: PRNGKeyArray,
) -> Transition:
    """One episode of `env` under `controller`, of at most `steps` steps, leading axis [T]; keys as in `Env.start`."""
    return env.run(controller, key=key, reset_key=reset_key, steps=steps)


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
        UsageError: observations that are not real numbers [n]; or `integrate`, and the environment tells of no speed.
    """
    observations = spaces_of(env).observations
    if not observations.is_vector:
        raise UsageError(
            f"{env.name} observes {observations}; a model of continuous states needs a vector of real numbers."
        )
    if not integrate:
        return env.space.without_velocities()
    if not env.space.velocities:
        raise UsageError(
            f"{env.name} does not say which coordinates are the velocities of others: give --velocities "
            "POSITION:VELOCITY ... or leave integrate out."
        )
    return env.space
