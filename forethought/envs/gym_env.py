"""Any Gymnasium environment with continuous actions, as a system that episodes can be run on."""

import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray

from forethought.core import Box, Controller, EnvironmentFailure, Transition, UsageError
from forethought.dynamics.space import StateSpace
from forethought.envs.acting import Actor
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.coordinate_names import mujoco_names
from forethought.envs.episode import EpisodeLog, at, at_most, call_env, seed_of
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
    """A `gymnasium.Env` with `Box` observations (flattened) and bounded `Box` actions.

    With a cost function given, the recorded reward is `-cost(x, u)`, so that returns mean the same for the real
    environment and for a model of it; with a termination function given, it decides `terminated`, and an episode
    that the environment itself ends elsewhere counts as truncated.  Without them, both are recorded as the
    environment gives them, to be learned from data.
    """

    name: str
    task: FunctionTask
    space: StateSpace

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
        make: Make | None = None,
    ):
        """Read off what the environment tells about itself.

        Args:
            env: the environment; owned and stepped by this object.
            name: how people call it; its registered id where not given.
            cost: `cost(x [n], u [m]) -> []`, traceable by JAX; None to learn it from rewards.
            termination: `termination(x [n]) -> bool []`, traceable by JAX; None to learn it from episodes.
            angles: coordinates of the observation that are angles in radians.
            velocities: pairs (i, j): coordinate j is the rate of change of coordinate i, per second.
            names: of the coordinates of the observation, with units; read from a MuJoCo environment where not given.
            horizon: steps in an episode; the environment's time limit where not given.
            dt: s per step; `env.unwrapped.dt`, else one picture (`render_fps`), else 1, where not given.
            make: makes another instance, given `render_mode`; `env.spec` is used where not given.

        Raises:
            UsageError: no continuous bounded actions, no numeric observations, no time limit, or functions that
                JAX cannot trace.
        """
        self.name = name or (env.spec.id if env.spec else type(env.unwrapped).__name__)
        self._env, self._make = env, make
        self._pictured: gym.Env | None = None
        self._observation = ObservationCodec(env.observation_space, self.name)
        self._action = ActionCodec(env.action_space, self.name)
        n, m = self._observation.size, self._action.size
        seen, acted = mujoco_names(env, n, m)
        self.space = _state_space(n, angles, velocities, _seconds(env, dt), names or seen, self.name)
        if cost is not None:
            require_cost(cost, n, m)
        if termination is not None:
            require_termination(termination, n)
        actions = Box(jnp.asarray(self._action.low), jnp.asarray(self._action.high), acted)
        steps = _horizon(env, horizon, self.name)
        self.task = FunctionTask(steps, _seconds(env, dt), actions, cost, termination)

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
        """Whether the environment says that a seed does not decide an episode."""
        return self._env.spec is not None and self._env.spec.nondeterministic

    def run(
        self,
        controller: Controller,
        *,
        key: PRNGKeyArray,
        on_step: Callable[[int, float], None] | None = None,
        frames: list[np.ndarray] | None = None,
        steps: int | None = None,
    ) -> Transition:
        """One episode, leading axis [T], NumPy arrays; see `Env.run`.

        `key` also seeds the environment's reset, so an episode is a function of controller and key.

        Raises:
            EnvironmentFailure: the environment raised, or gave values that are not finite or of another shape, or
                the controller's action is not finite; its `episode` holds the steps before that, None where there
                are none.
        """
        env = self._env if frames is None else self._pictured_env()
        log = EpisodeLog()
        try:
            self._run(env, controller, key, log, on_step, frames, at_most(steps, self.task.horizon))
        except EnvironmentFailure as error:
            error.episode = log.episode()
            raise
        return log.whole()

    def close(self) -> None:
        """Close the environment, and the one that makes pictures."""
        for env in (self._env, self._pictured):
            if env is not None:
                env.close()
        self._pictured = None

    def _run(
        self,
        env: gym.Env,
        controller: Controller,
        key: PRNGKeyArray,
        log: EpisodeLog,
        on_step: Callable[[int, float], None] | None,
        frames: list[np.ndarray] | None,
        steps: int,
    ) -> None:
        seed_key, act_key = jr.split(key)
        x = self._observation.read(call_env(self.name, 0, env.reset, seed=seed_of(seed_key))[0], 0)
        self._take_picture(env, frames)
        actor, total = Actor(controller, x, key=act_key), 0.0
        for t in range(steps):
            u = self._action.read(actor(x, t), t)
            observed, reward, ended, cut, _ = call_env(self.name, t + 1, env.step, self._action.write(u))
            x_next = self._observation.read(observed, t + 1)
            reward = self._reward(x, u, reward, t + 1)
            terminated, truncated = self._endings(x_next, bool(ended), bool(cut), last=t + 1 == steps)
            log.append(x, u, x_next, reward, terminated, truncated)
            self._take_picture(env, frames)
            total += reward
            if on_step is not None:
                on_step(t + 1, total)
            if terminated or truncated:
                return
            x = x_next

    def _reward(self, x: np.ndarray, u: np.ndarray, reward: Any, step: int) -> float:
        if self.task.cost_function is not None:
            value, source = -float(_cost(self.task, x, u)), "the cost function"
        else:
            value, source = _number(reward), self.name
        if not np.isfinite(value):
            raise EnvironmentFailure(f"{source} gave the reward {reward if value != value else value} {at(step)}.")
        return value

    def _endings(self, x_next: np.ndarray, ended: bool, cut: bool, *, last: bool) -> tuple[bool, bool]:
        """Terminated, truncated: the clock is the shortest of ours, the caller's and the environment's."""
        terminated = ended
        if self.task.termination_function is not None:
            terminated = bool(_terminal(self.task, x_next))
            cut = cut or (ended and not terminated)
        return terminated, cut or (last and not terminated)

    def _take_picture(self, env: gym.Env, frames: list[np.ndarray] | None) -> None:
        if frames is None:
            return
        try:
            with warnings.catch_warnings():  # graphics libraries complain at length before they fail
                warnings.simplefilter("ignore")
                picture = env.render()
        except Exception as error:  # graphics drivers raise anything
            raise self._no_picture(error) from error
        if not (isinstance(picture, np.ndarray) and picture.ndim == 3):
            raise EnvironmentFailure(f"{self.name} rendered a {type(picture).__name__} instead of an RGB picture.")
        frames.append(np.asarray(picture[..., :3], np.uint8))

    def _pictured_env(self) -> gym.Env:
        """The instance that renders: this one if it does, else a second one, made on first use."""
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
                self._pictured = make(render_mode="rgb_array")
            except Exception as error:  # graphics drivers raise anything
                raise self._no_picture(error) from error
        return self._pictured

    def _no_picture(self, error: Exception) -> EnvironmentFailure:
        remedy = "train and evaluate work without pictures"
        if "mujoco" in type(self._env.unwrapped).__module__ or "mujoco" in type(error).__module__:
            remedy = "MuJoCo needs OpenGL; without a screen set MUJOCO_GL=egl (GPU) or MUJOCO_GL=osmesa (software)"
        return EnvironmentFailure(f"{self.name} could not render ({first_line(error)}): {remedy}.")


@eqx.filter_jit
def _cost(task: FunctionTask, x: Any, u: Any) -> jax.Array:
    return task.cost(jnp.asarray(x), jnp.asarray(u), jnp.zeros((), jnp.int32))


@eqx.filter_jit
def _terminal(task: FunctionTask, x: Any) -> jax.Array:
    return task.terminal(jnp.asarray(x))


def _number(reward: Any) -> float:
    """The reward as a float, NaN where it is not a number."""
    try:
        return float(reward)
    except (TypeError, ValueError):
        return float("nan")


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
            raise UsageError(f"{what} {wrong} are not coordinates of {name}: its observations have 0 to {n - 1}.")
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
    """Steps after which the environment truncates an episode; None where it never does."""
    if env.spec is not None and env.spec.max_episode_steps is not None:
        return env.spec.max_episode_steps
    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.wrappers.TimeLimit):
            return env._max_episode_steps
        env = env.env
    return None


def time_step(env: gym.Env) -> float | None:
    """Seconds per step: `env.unwrapped.dt`, else one picture (`render_fps`); None where neither is known."""
    own = getattr(env.unwrapped, "dt", None)
    if isinstance(own, int | float) and own > 0:
        return float(own)
    fps = (env.metadata or {}).get("render_fps")
    return 1.0 / fps if isinstance(fps, int | float) and fps > 0 else None


def _seconds(env: gym.Env, dt: float | None) -> float:
    if dt is None:
        return time_step(env) or 1.0
    if not dt > 0:
        raise UsageError(f"dt must be positive seconds per step, got {dt}.")
    return float(dt)
