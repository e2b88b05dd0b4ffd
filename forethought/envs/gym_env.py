"""Any Gymnasium environment with continuous or discrete actions, as an `Env`."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
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
from forethought.envs.episode import EpisodeLog, OnStep, at, call_env, require_running, run_episode, seed_of
from forethought.tasks.function_task import (
    CostFunction,
    FunctionTask,
    TerminationFunction,
    first_line,
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
        self._env, self._make, self._make_vector = env, make, vector
        self._pictured: gym.Env | None = None
        self._vectors: dict[int, VectorEnv] = {}
        self._running: GymEpisode | None = None
        self.elapsed_steps: int | None = None  # told to a nonstationary environment; None: it counts by itself
        self._observation = ObservationCodec(env.observation_space, self.name)
        self._action = ActionCodec(env.action_space, self.name)
        n, m = self._observation.size, self._action.size
        seen, acted = mujoco_names(env, n, m)
        self.space = _state_space(n, angles, velocities, _seconds(env, dt), names or seen, self.name)
        if cost is not None:
            require_cost(cost, self.observations.example(), self._action.actions().example())
        if termination is not None:
            require_termination(termination, self.observations.example())
        steps = _horizon(env, horizon, self.name)
        self.task = FunctionTask(steps, _seconds(env, dt), self._action.actions(acted), cost, termination)
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
        env = self._env if frames is None else self._pictured_env()
        seed_key, act_key = jr.split(key)
        if self.nonstationary and self.elapsed_steps is not None:
            options = {"elapsed_steps": self.elapsed_steps, **(options or {})}
        told = {} if options is None else {"options": dict(options)}
        seed = seed_of(seed_key if reset_key is None else reset_key)
        observed, _ = call_env(self.name, 0, env.reset, seed=seed, **told)
        if reset_key is not None:
            env.unwrapped.np_random = np_random(seed_of(seed_key))[0]
        x = self._observation.read(observed, 0)
        self._take_picture(env, frames)
        self._running = GymEpisode(self, env, x, act_key, frames)
        return self._running

    def close(self) -> None:
        """Close the environment, the second instance that renders, and those side by side."""
        for env in (self._env, self._pictured):
            if env is not None:
                env.close()
        for vector in self._vectors.values():
            vector.close()
        self._pictured, self._vectors = None, {}

    def _reward(self, x: np.ndarray, u: np.ndarray, reward: Any, step: int) -> float:
        if self.task.cost_function is not None:
            cost = float(_cost(self.task, x, u))
            if not np.isfinite(cost):
                where = f"{at(step)}, for x = {_short(x)} and u = {_short(u)}"
                remedy = "guard divisions, logarithms and roots inside it"
                raise EnvironmentFailure(f"the cost function gave {cost} {where}: {remedy}.")
            return -cost
        if np.ndim(reward) != 0 or not np.issubdtype(np.asarray(reward).dtype, np.number):
            what = f"shape {list(np.shape(reward))}" if np.ndim(reward) else f"type {type(reward).__name__}"
            raise EnvironmentFailure(f"{self.name} gave a reward of {what} {at(step)}: return a float.")
        if not np.isfinite(reward):
            raise EnvironmentFailure(f"{self.name} gave the reward {reward} {at(step)}.")
        return float(reward)

    def _endings(self, x_next: np.ndarray, ended: bool, cut: bool, *, last: bool) -> tuple[bool, bool]:
        """Terminated, truncated: the time limit is the shorter of the task's and the environment's."""
        terminated = ended
        if self.task.termination_function is not None:
            terminated = bool(_terminal(self.task, x_next))
            cut = cut or (ended and not terminated)
        return terminated, cut or (last and not terminated)

    def judge(
        self, x: np.ndarray, u: np.ndarray, x_next: np.ndarray, told: tuple[Any, Any, Any], t: int
    ) -> tuple[float, bool, bool]:
        """Reward, terminated and truncated of step `t` (from 0), by our functions and time limit where there are some.

        Args:
            x: the observation before the step.
            u: the action.
            x_next: the observation after it.
            told: the same three as the environment gives them.
            t: step of the episode.
        Raises:
            EnvironmentFailure: the reward is not a finite number.
        """
        reward, ended, cut = told
        reward = self._reward(x, u, reward, t + 1)
        return reward, *self._endings(x_next, bool(ended), bool(cut), last=t + 1 == self.task.horizon)

    def vector(self, count: int) -> VectorEnv:
        """`count` further instances side by side, for `envs.vector.VectorRun`; they are kept for later calls.

        Raises:
            UsageError: the environment was given as an object that cannot be made again.
        """
        if count not in self._vectors and self._make_vector is not None:
            self._vectors[count] = self._make_vector(count)
        if count not in self._vectors:
            make = self._make or (self._env.spec.make if self._env.spec else None)
            if make is None and count > 1:
                remedy = "use one environment side by side, or register it and give its id"
                raise UsageError(
                    f"{self.name} was given as an object without a spec, so it cannot be copied: {remedy}."
                )
            with no_warnings():
                makers = [lambda: self._env] if make is None else [make] * count
                self._vectors[count] = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)
        return self._vectors[count]

    def _step(self, env: gym.Env, x: np.ndarray, action: Any, t: int) -> tuple:
        """The row of step `t` (from 0), which begins in `x`: x, u, x_next, reward, terminated, truncated."""
        u = self._action.read(action, t)
        observed, *told, _ = call_env(self.name, t + 1, env.step, self._action.write(u))
        x_next = self._observation.read(observed, t + 1)
        reward, terminated, truncated = self.judge(x, u, x_next, tuple(told), t)
        return x, u, x_next, reward, terminated, truncated

    def _take_picture(self, env: gym.Env, frames: list[np.ndarray] | None) -> None:
        if frames is None:
            return
        try:
            with warnings.catch_warnings():  # graphics libraries warn at length before they fail
                warnings.simplefilter("ignore")
                picture = env.render()
        except Exception as error:  # graphics drivers raise anything
            raise self._no_picture(error) from error
        if not (isinstance(picture, np.ndarray) and picture.ndim == 3):
            raise EnvironmentFailure(f"{self.name} rendered a {type(picture).__name__} instead of an RGB picture.")
        frames.append(np.asarray(picture[..., :3], np.uint8))

    def _pictured_env(self) -> gym.Env:
        """The instance that renders: this one if it can render, else a second one, made on first use."""
        if self._env.render_mode == "rgb_array":
            return self._env
        if self._pictured is None:
            modes = self._env.metadata.get("render_modes") or []
            if "rgb_array" not in modes:
                known = ", ".join(modes) if modes else "none"
                raise UsageError(f"{self.name} cannot make pictures: no render mode rgb_array (it has: {known}).")
            make = self._make or (self._env.spec.make if self._env.spec else None)
            if make is None:
                remedy = 'make it with render_mode="rgb_array", or register it and give its id'
                raise UsageError(f"{self.name} was given as an object without a spec, so it cannot be made again "
                                 f"for pictures: {remedy}.")  # fmt: skip
            try:
                with no_warnings():
                    self._pictured = make(render_mode="rgb_array")
            except Exception as error:  # graphics drivers raise anything
                raise self._no_picture(error) from error
        return self._pictured

    def _no_picture(self, error: Exception) -> EnvironmentFailure:
        remedy = "train and evaluate need no pictures"
        if "mujoco" in type(self._env.unwrapped).__module__ or "mujoco" in type(error).__module__:
            remedy = "MuJoCo needs OpenGL; without a screen set MUJOCO_GL=egl (GPU) or MUJOCO_GL=osmesa (software)"
        return EnvironmentFailure(f"{self.name} could not render ({first_line(error)}): {remedy}.")


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
        self._env._take_picture(self._world, self._frames)
        _, _, self.x, reward, terminated, truncated = row
        self._t, self._total, self.over = self._t + 1, self._total + reward, terminated or truncated
        if on_step is not None:
            on_step(self._t, self._total)


@eqx.filter_jit
def _cost(task: FunctionTask, x: Any, u: Any) -> jax.Array:
    return task.cost(jnp.asarray(x), jnp.asarray(u), jnp.zeros((), jnp.int32))


@eqx.filter_jit
def _terminal(task: FunctionTask, x: Any) -> jax.Array:
    return task.terminal(jnp.asarray(x))


def _short(values: np.ndarray) -> str:
    """An array as one line of text."""
    return " ".join(np.array2string(np.asarray(values), precision=3, threshold=8).split())


def _state_space(
    n: int,
    angles: tuple[int, ...],
    velocities: tuple[tuple[int, int], ...],
    dt: float,
    names: tuple[str, ...],
    name: str,
) -> StateSpace:
    for what, given in (("angles", angles), ("velocities", tuple(i for pair in velocities for i in pair))):
        wrong = [i for i in given if not 0 <= i < n]
        if wrong:
            raise UsageError(f"{what} {wrong} are not coordinates of {name}, whose observations have 0 to {n - 1}.")
    try:
        return StateSpace(n, tuple(angles), tuple(velocities), dt if velocities else 0.0, names)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _horizon(env: gym.Env, horizon: int | None, name: str) -> int:
    limit = time_limit(env)
    if horizon is None:
        if limit is None:
            raise UsageError(f"{name} has no time limit: pass horizon=STEPS, or register it with max_episode_steps.")
        return limit
    if horizon < 1:
        raise UsageError(f"horizon must be at least 1 step, got {horizon}.")
    if limit is not None and horizon > limit:
        raise UsageError(f"horizon={horizon} is beyond the time limit of {name}, {limit} steps.")
    return horizon


def time_limit(env: gym.Env) -> int | None:
    """Steps after which the environment truncates an episode; None without a time limit."""
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None


def own_time_step(env: gym.Env) -> float | None:
    """Seconds per step as the environment defines it (`env.unwrapped.dt`); None if it does not."""
    own = getattr(env.unwrapped, "dt", None)
    return float(own) if isinstance(own, int | float) and own > 0 else None


def time_step(env: gym.Env) -> float | None:
    """Seconds per step: the environment's own, else the time of one picture (`render_fps`), else None."""
    own = own_time_step(env)
    if own is not None:
        return own
    fps = (env.metadata or {}).get("render_fps")
    return 1.0 / fps if isinstance(fps, int | float) and fps > 0 else None


def _seconds(env: gym.Env, dt: float | None) -> float:
    if dt is None:
        return time_step(env) or 1.0
    if not dt > 0:
        raise UsageError(f"dt must be positive seconds per step, got {dt}.")
    return float(dt)
