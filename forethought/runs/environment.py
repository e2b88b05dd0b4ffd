"""The environment of a run: opened from what a person typed, recorded so that it can be opened again, watched."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Task, Trajectory, Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.env import Env


def open_world(
    env: Any,
    cost: Any = None,
    termination: Any = None,
    angles: tuple[int, ...] | None = None,
    observation_noise: float | tuple[float, ...] | None = None,
    speeds: tuple[tuple[int, int], ...] | None = None,
) -> tuple[Env, dict[str, Any]]:
    """The environment, and the plain values from which `reopen` opens it again.

    Args:
        env: a Gymnasium id, a `gymnasium.Env`, or an `Env`.
        cost: `cost(x, u)` or its "module:function"; None where the environment brings one or it is learned.
        termination: `termination(x)` or its "module:function"; likewise.
        angles: coordinates of the observation that are angles, in radians; None where the environment knows.
        observation_noise: standard deviation of the sensors, of all coordinates or of each; None: as they are.
        speeds: pairs (i, j): coordinate j is the rate of change of coordinate i; None where the environment knows.
    """
    told = cost is not None or termination is not None or angles is not None or speeds is not None
    ready = hasattr(env, "run") and hasattr(env, "task") and not told
    world = env if ready else _open_env(env, cost, termination, angles, speeds)
    if observation_noise is not None:
        world = _with_noise(world, observation_noise)
    record = {
        "spec": env if isinstance(env, str) else None,
        "name": world.name,
        "cost": _function_name(cost),
        "termination": _function_name(termination),
        "angles": None if angles is None else list(angles),
    }
    if speeds is not None:  # only then: what runs without them record must not change
        record["speeds"] = [list(pair) for pair in speeds]
    std = getattr(world, "observation_std", 0.0)
    if np.any(np.asarray(std)):  # likewise
        record["observation_noise"] = [float(one) for one in std] if isinstance(std, tuple) else float(std)
    return world, record


def reopen(record: dict[str, Any]) -> Env:
    """The environment of a recorded run.

    Raises:
        UsageError: it was given as an object, of which only the name is known.
    """
    if record["spec"] is None:
        raise UsageError(
            f"the run was trained on '{record['name']}', given as an object; pass it again: ft.load(path, env=...)."
        )
    angles = None if record["angles"] is None else tuple(record["angles"])
    speeds = tuple((i, j) for i, j in record["speeds"]) if "speeds" in record else None
    env = _open_env(record["spec"], record["cost"], record["termination"], angles, speeds)
    noise = recorded_noise(record)
    return env if noise is None else _with_noise(env, noise)


def recorded_noise(record: dict[str, Any]) -> float | tuple[float, ...] | None:
    """The sensors' noise in a run's record of its environment; None where it has none."""
    noise = record.get("observation_noise")
    return tuple(noise) if isinstance(noise, list) else noise


def has_test(env: Env) -> bool:
    """Whether the task says when an episode solves it."""
    task = env.task
    xs, us = jnp.zeros((2, env.space.size)), jnp.zeros((1, task.action_space.size))
    trajectory = Trajectory(xs, us, jnp.zeros(2), jnp.ones(2, bool))
    return task.solved(trajectory) is not None


class Watched:
    """An environment whose every episode is watched by `on_step`, and kept until the round has ended.

    `on_step` is told the real steps since `start` and the return of the running episode.  It is always there, so that
    what is compiled, and with it the result to the last bit, does not depend on who is watching.
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

        def told(done: int, episode_return: float) -> None:
            self.on_step(before + done, episode_return)
            if on_step is not None:
                on_step(done, episode_return)

        episode = self.env.run(controller, key=key, on_step=told, frames=frames, steps=steps)
        self.episodes.append(episode)
        return episode

    def __getattr__(self, name: str) -> Any:
        """Anything else the environment offers."""
        if name == "env":  # not there yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.env, name)


def _open_env(
    spec: Any,
    cost: Any,
    termination: Any,
    angles: tuple[int, ...] | None,
    speeds: tuple[tuple[int, int], ...] | None,
) -> Env:
    from forethought.envs.open import open_env  # here: it loads the simulators

    return open_env(spec, cost=cost, termination=termination, angles=angles, speeds=speeds)


def _with_noise(env: Env, std: float | tuple[float, ...]) -> Env:
    from forethought.envs.system_env import with_observation_noise  # here: as above

    return with_observation_noise(env, std)


def _function_name(function: Any) -> str | None:
    if function is None or isinstance(function, str):
        return function
    return f"{function.__module__}:{function.__qualname__}"
