"""Any Gymnasium environment with continuous or discrete actions, as an `Env`."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import jax.random as jr
import numpy as np
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from jaxtyping import PRNGKeyArray

from forethought.core import Controller, EnvironmentFailure, Observations, Transition, UsageError
from forethought.core.delay import Delay
from forethought.dynamics.mujoco.messages import no_warnings, python_warnings
from forethought.dynamics.residual import require_physics
from forethought.dynamics.space import StateSpace
from forethought.envs.acting import Actor
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.coordinate_names import mujoco_names
from forethought.envs.episode import EpisodeLog, OnStep, call_env, require_running, run_episode, seed_of
from forethought.envs.gym_attributes import horizon_of, own_time_step, seconds_of, state_space
from forethought.envs.gym_pictures import GymPictures
from forethought.envs.judging import judge
from forethought.tasks.function_task import (
    CostFunction,
    FunctionTask,
    TerminationFunction,
    require_cost,
    require_termination,
)

Make = Callable[..., gym.Env]  # make(render_mode=...) -> a fresh instance of the same environment


class GymEnv:
    """Wraps a `gymnasium.Env` with numeric observations and bounded `Box` or `Discrete` actions (see `codecs`).

    If a cost function is given, the recorded reward is `-cost(x, u)`, so that returns of the real environment and of a
    model of it are comparable.  If a termination function is given, it alone sets `terminated`; an episode that the
    environment ends where that function is false counts as truncated.  Without them, both are recorded as the
    environment gives them, to be learned from data.
    """

    name: str
    task: FunctionTask
    space: StateSpace
    delay: Delay | None = None  # of the actions, whose past is part of the observations

    def __init__(
        self,
        env: gym.Env,
        *,
        name: str | None = None,
        cost: CostFunction | None = None,
        termination: TerminationFunction | None = None,
        angles: tuple[int, ...] = (),
        velocities: tuple[tuple[int, int], ...] = (),
        names: tuple[str, ...] = (),
        horizon: int | None = None,
        dt: float | None = None,
        physics: Any = None,
        make: Make | None = None,
        vector: Callable[[int], VectorEnv] | None = None,
    ):
        """Read the attributes of the environment and check the options.

        Args:
            env: the environment; only this object may step it.
            name: name for messages; by default the registered id.
            cost: `cost(x [n], u [m]) -> []`, traceable by JAX; None to learn it from rewards.
            termination: `termination(x [n]) -> bool []`, traceable by JAX; None to learn it from episodes.
            angles: coordinates of the observation that are angles in radians.
            velocities: pairs (i, j): coordinate j is the rate of change of coordinate i, per second.
            names: names of the observation's coordinates, with units; by default read from a MuJoCo environment.
            horizon: steps in an episode; by default the environment's time limit.
            dt: s per step; by default `env.unwrapped.dt`, else the time of one picture (`render_fps`), else 1.
            physics: what is known of the dynamics, `physics(x [n], u [m]) -> [n]` or `Dynamics`; a learned residual
                corrects it.
            make: makes another instance, given `render_mode`; by default `env.spec` is used.
            vector: makes several instances side by side, which start episodes on request (AutoresetMode.DISABLED); by
                default they are made by `make` and stepped one by one.

        Raises:
            UsageError: actions or observations of other kinds, no time limit, or functions that
                JAX cannot trace.
        """
        self.name = name or (env.spec.id if env.spec else type(env.unwrapped).__name__)
        self._env, self._make_vector = env, vector
        self._make: Make | None = make or (env.spec.make if env.spec else None)
        self._pictures = GymPictures(env, self._make, self.name)
        self._vectors: dict[int, VectorEnv] = {}
        self._running: GymEpisode | None = None
        self.elapsed_steps: int | None = None  # told to a nonstationary environment; None: it counts by itself
        self._observation = ObservationCodec(env.observation_space, self.name)
        self._action = ActionCodec(env.action_space, self.name)
        n, m = self._observation.size, self._action.size
        seen, acted = mujoco_names(env, n, m)
        self.space = state_space(n, angles, velocities, seconds_of(env, dt), names or seen, self.name)
        if cost is not None:
            require_cost(cost, self.observations.example(), self._action.actions().example())
        if termination is not None:
            require_termination(termination, self.observations.example())
        steps = horizon_of(env, horizon, self.name)
        self.task = FunctionTask(steps, seconds_of(env, dt), self._action.actions(acted), cost, termination)
        x, u = self.observations.example(), self._action.actions().example()
        self.physics = None if physics is None else require_physics(physics, x, u, self.task.dt)

    @property
    def learn_reward(self) -> bool:
        """Whether the reward must be learned: no cost function is known."""
        return self.task.cost_function is None

    @property
    def learn_termination(self) -> bool:
        """Whether termination must be learned: no termination function is known."""
        return self.task.termination_function is None

    @property
    def nondeterministic(self) -> bool:
        """Whether the environment declares itself nondeterministic (a seed does not determine an episode)."""
        return self._env.spec is not None and self._env.spec.nondeterministic

    @property
    def nonstationary(self) -> bool:
        """Whether the environment changes with the number of steps, which its `reset` takes as `elapsed_steps`."""
        return bool(getattr(self._env.unwrapped, "nonstationary", False))

    @property
    def unwrapped(self) -> gym.Env:
        """The Gymnasium environment without wrappers, to be read but not stepped."""
        return self._env.unwrapped

    @property
    def own_time_step(self) -> float | None:
        """Seconds per step as the environment defines it; None if it does not."""
        return own_time_step(self._env)

    @property
    def observations(self) -> Observations:
        """Shape and dtype of the observations."""
        return self._observation.observations

    run = run_episode

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> "GymEpisode":
        """A new episode, which ends the one before it; see `Env.start`.

        Without `reset_key`, `key` determines the seed of the reset, and hence the environment's noise too.  With it,
        `reset_key` determines the seed of the reset, and the environment's generator (`np_random`) is reseeded from
        `key` after the reset; noise from any other generator depends on the seed of the reset.

        Args:
            key: as in `Env.start`.
            reset_key: as in `Env.start`.
            options: passed on to the environment's `reset`.
            frames: a list to which pictures are appended, if given.

        Raises:
            EnvironmentFailure: the reset raised an exception or returned an observation outside of the space.
        """
        env = self._env if frames is None else self._pictures.env()
        seed_key, act_key = jr.split(key)
        if self.nonstationary and self.elapsed_steps is not None:
            options = {"elapsed_steps": self.elapsed_steps, **(options or {})}
        told = {} if options is None else {"options": dict(options)}
        seed = seed_of(seed_key if reset_key is None else reset_key)
        observed, _ = call_env(self.name, 0, env.reset, seed=seed, **told)
        if reset_key is not None:
            env.unwrapped.np_random = np_random(seed_of(seed_key))[0]
        x = self._observation.read(observed, 0)
        if frames is not None:
            frames.append(self._pictures.take(env))
        self._running = GymEpisode(self, env, x, act_key, frames)
        return self._running

    def close(self) -> None:
        """Close the environment, the second instance that renders, and those side by side."""
        self._env.close()
        self._pictures.close()
        for vector in self._vectors.values():
            vector.close()
        self._vectors = {}

    def judge(
        self, x: np.ndarray, u: np.ndarray, x_next: np.ndarray, told: tuple[Any, Any, Any], t: int
    ) -> tuple[float, bool, bool]:
        """See `judging.judge`."""
        return judge(self.name, self.task, x, u, x_next, told, t)

    def vector(self, count: int) -> VectorEnv:
        """`count` further instances side by side, for `envs.vector.VectorRun`; they are kept for later calls.

        Raises:
            UsageError: the environment was given as an object that cannot be made again.
        """
        if count not in self._vectors and self._make_vector is not None:
            self._vectors[count] = self._make_vector(count)
        if count not in self._vectors:
            if self._make is None and count > 1:
                remedy = "use one environment side by side, or register it and give its id"
                raise UsageError(
                    f"{self.name} was given as an object without a spec, so it cannot be copied: {remedy}."
                )
            with no_warnings():
                makers = [lambda: self._env] if self._make is None else [self._make] * count
                self._vectors[count] = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
        return self._vectors[count]

    def _step(self, env: gym.Env, x: np.ndarray, action: Any, t: int) -> tuple:
        """The row of step `t` (from 0), which begins in `x`: x, u, x_next, reward, terminated, truncated."""
        u = self._action.read(action, t)
        observed, *told, _ = call_env(self.name, t + 1, env.step, self._action.write(u))
        x_next = self._observation.read(observed, t + 1)
        reward, terminated, truncated = self.judge(x, u, x_next, tuple(told), t)
        return x, u, x_next, reward, terminated, truncated


class GymEpisode:
    """An episode of a `GymEnv`, see `Episode`.

    The environment holds the state, so only the episode that was started last can be advanced.
    """

    def __init__(self, env: GymEnv, world: gym.Env, x: np.ndarray, key: PRNGKeyArray, frames: list[np.ndarray] | None):
        """An episode in its initial state; `world` is the instance that is stepped."""
        self.x, self.over = x, False
        self._env, self._world, self._frames = env, world, frames
        self._actor = Actor(key=key)
        self._t, self._total = 0, 0.0

    def advance(self, controller: Controller, *, steps: int, on_step: OnStep | None = None) -> Transition:
        """Run up to `steps` more steps; see `Episode.advance`.

        Raises:
            EnvironmentFailure: the environment raised an exception or returned values that are not finite or have
                another shape, or the controller's action is not finite; its `episode` holds the steps of this call
                before the failure, or None if there are none.
            UsageError: the episode has ended, or another one was started since.
        """
        require_running(self, steps, replaced=self._env._running is not self)
        log = EpisodeLog()
        try:
            self._actor.take(controller, self.x, self._t)
            with python_warnings():  # MuJoCo would write a log file into the current folder
                for _ in range(steps):
                    self._step(log, on_step)
                    if self.over:
                        break
        except EnvironmentFailure as error:
            self.over, error.episode = True, log.episode()
            raise
        return log.whole()

    def _step(self, log: EpisodeLog, on_step: OnStep | None) -> None:
        row = self._env._step(self._world, self.x, self._actor(self.x, self._t), self._t)
        log.append(*row)
        if self._frames is not None:
            self._frames.append(self._env._pictures.take(self._world))
        _, _, self.x, reward, terminated, truncated = row
        self._t, self._total, self.over = self._t + 1, self._total + reward, terminated or truncated
        if on_step is not None:
            on_step(self._t, self._total)
