"""A wrapper of an environment that reports its steps during a round and keeps the round's episodes."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, Task, Trajectory, Transition
from forethought.dynamics.space import StateSpace
from forethought.envs.env import Env, spaces_of, tell_elapsed_steps
from forethought.envs.episode import Episode, OnStep, join_pieces, run_episode


def has_test(env: Env) -> bool:
    """Whether the task has a test of success."""
    task = env.task
    spaces = spaces_of(env)
    xs = jnp.stack([spaces.observations.example()] * 2)
    trajectory = Trajectory(xs, spaces.actions.example()[None], jnp.zeros(2), jnp.ones(2, bool))
    return task.solved(trajectory) is not None


class MonitoredEnv:
    """An environment that reports every step to `on_step` and keeps its episodes until the end of the round.

    `on_step` takes the number of real steps since `begin_round` and the return of the running episode.  It is always
    called, so that compiled programs and results are bitwise identical with and without a progress display.
    """

    def __init__(self, env: Env, on_step: Callable[[int, float], None]):
        self.env, self.on_step = env, on_step
        self.begin_round()

    def begin_round(self, earlier: int = 0) -> None:
        """Discard the episodes of the previous round; `earlier`: real steps of all rounds before this one."""
        self.steps, self.earlier = 0, earlier
        self._begun: list[list[Transition]] = []  # the pieces of each episode

    def keep(self, pieces: list[Transition], piece: Transition) -> None:
        """Add `piece` to the `pieces` of an episode."""
        if not any(pieces is known for known in self._begun):
            self._begun.append(pieces)
        pieces.append(piece)
        self.steps += len(piece)

    @property
    def episodes(self) -> list[Transition]:
        """The episodes of this round, in the order in which they began."""
        return [join_pieces(pieces) for pieces in self._begun]

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

    run = run_episode

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> "MonitoredEpisode":
        """A new episode; see `Env.start`."""
        tell_elapsed_steps(self.env, self.earlier + self.steps)
        episode = self.env.start(key=key, reset_key=reset_key, options=options, frames=frames)
        return MonitoredEpisode(self, episode)

    def __getattr__(self, name: str) -> Any:
        """All other attributes of the environment."""
        if name == "env":  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.env, name)


class MonitoredEpisode:
    """An episode of a `MonitoredEnv`: its steps are reported, and kept even if it is never finished."""

    def __init__(self, env: MonitoredEnv, episode: Episode):
        self._env, self._episode = env, episode
        self._done = 0  # steps of this episode
        self._pieces: list[Transition] = []

    @property
    def x(self) -> np.ndarray:
        return self._episode.x

    @property
    def over(self) -> bool:
        return self._episode.over

    def advance(self, controller: Controller, *, steps: int, on_step: OnStep | None = None) -> Transition:
        """Run up to `steps` more steps; see `Episode.advance`."""
        others = self._env.steps - self._done

        def report(done: int, episode_return: float) -> None:
            self._env.on_step(others + done, episode_return)
            if on_step is not None:
                on_step(done, episode_return)

        piece = self._episode.advance(controller, steps=steps, on_step=report)
        self._env.keep(self._pieces, piece)
        self._done += len(piece)
        return piece
