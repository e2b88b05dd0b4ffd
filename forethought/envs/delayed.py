"""Environments whose actions act some steps after they are chosen, or change slowly; see `forethought.core.delay`.

The observation of step t is [x_t; v_{t-1}; ...; v_{t-q}], v being the actions that are sent.  Before the first chosen
action acts, the middle of the action limits does (choice 0 of discrete actions).  A delay of the observation adds to
that of the action, d = action delay + observation delay; the episode then begins when the first observation arrives,
and ends when the last one does.
"""

from dataclasses import replace
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from forethought.core import Discrete, Problem, UsageError
from forethought.core.delay import Delay, resting_action
from forethought.dynamics.delayed import DelayedDynamics
from forethought.dynamics.space import StateSpace
from forethought.envs.codecs import ActionCodec
from forethought.envs.env import Env
from forethought.envs.gym_env import GymEnv
from forethought.envs.system_env import SystemEnv
from forethought.tasks.delayed_task import DelayedFunction, DelayedTask


def delay_of(env: Env) -> Delay | None:
    """The delay of an environment; None without one."""
    return getattr(env, "delay", None)  # not a protocol: see `physics_of`


def with_delay(env: Any, steps: int, rate: float | tuple[float, ...] | None = None) -> Any:
    """`env` with actions that act `steps` steps later, and change by at most `rate` in a second.

    Args:
        env: a `SystemEnv` or `GymEnv`.
        steps: at least 0, and 1 without a rate.
        rate: in the units of the actions per second: one number for all coordinates, or one for each; None: no limit.

    Raises:
        UsageError: it is neither a `SystemEnv` nor a `GymEnv`, has observations that are not real numbers [n], or has a
            delay already; or there is a rate, and its actions are discrete or of another number of coordinates.
    """
    if delay_of(env) is not None:
        raise UsageError(f"{env.name} has a delay or a limited action rate already; give both options at once.")
    change = None if rate is None else _change(env, rate)
    if isinstance(env, SystemEnv):
        return _delayed_system(env, steps, change)
    if isinstance(env, GymEnv):
        return _delayed_gym(env, steps, change)
    raise UsageError(f"a delay is for Gymnasium environments and systems; {env.name} is a {type(env).__name__}.")


def _change(env: Env, rate: float | tuple[float, ...]) -> tuple[float, ...]:
    """The largest change of each coordinate of an action in a step."""
    actions = env.task.action_space
    if isinstance(actions, Discrete):
        raise UsageError(f"a limited action rate needs continuous actions; {env.name} has {actions.n} choices.")
    rates = (rate,) * actions.size if isinstance(rate, int | float) else rate
    if len(rates) != actions.size:
        raise UsageError(f"{env.name} has actions of {actions.size} numbers, and there are {len(rates)} action rates.")
    return tuple(float(one) * float(env.task.dt) for one in rates)


def _delayed_system(env: SystemEnv, steps: int, change: tuple[float, ...] | None) -> SystemEnv:
    actions = env.task.action_space
    delay = Delay.of(steps, env.space.size, actions, change)
    problem = Problem(DelayedDynamics(env.problem.dynamics, delay), DelayedTask(env.task, delay))
    stds = np.broadcast_to(np.asarray(env.observation_std, np.float64), (env.space.size,))
    noise = (*(float(std) for std in stds), *[0.0] * delay.past_size) if stds.any() else 0.0
    renderer = None if env.renderer is None else _SystemRenderer(env, delay)
    space = with_past_actions(env.space, delay, getattr(actions, "names", ()))
    return replace(env, problem=problem, space=space, observation_std=noise, renderer=renderer, delay=delay)


class _SystemRenderer:
    """Draws the state of the system, while the action that acts acts."""

    def __init__(self, env: SystemEnv, delay: Delay):
        self._env, self._delay = env, delay

    def __call__(self, problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        del problem  # of the delayed system
        acting = None if u is None else np.asarray(self._delay.applied(x, u))
        assert self._env.renderer is not None
        return self._env.renderer(self._env.problem, x[: self._env.space.size], acting, seconds)


def _delayed_gym(env: GymEnv, steps: int, change: tuple[float, ...] | None) -> GymEnv:
    if not env.observations.is_vector:
        raise UsageError(f"{env.name} observes {env.observations}; a delay needs a vector of real numbers.")
    actions, task = env.task.action_space, env.task
    made_of, make = _flattened(env._env), env._make
    delay = Delay.of(steps, env.space.size, actions, change)
    functions = [
        None if one is None else DelayedFunction(one, delay) for one in (task.cost_function, task.termination_function)
    ]
    space = with_past_actions(env.space, delay, getattr(actions, "names", ()))
    made = GymEnv(
        DelayedActions(made_of, steps, change),
        name=env.name,
        cost=functions[0],
        termination=functions[1],
        angles=space.angles,
        velocities=space.velocities,
        names=space.names,
        horizon=task.horizon,
        dt=task.dt,
        make=None if make is None else lambda **options: DelayedActions(_flattened(make(**options)), steps, change),
    )
    limit = None if task.constraint_function is None else DelayedFunction(task.constraint_function, delay)
    of_limit: dict[str, Any] = {
        "constraint_function": limit,
        "risk": task.risk,
        "constraint_steps": task.constraint_steps,
    }
    made.task = replace(made.task, action_space=actions, **of_limit)
    made.delay, made.physics = delay, env.physics
    return made


def _flattened(env: gym.Env) -> gym.Env:
    """With observations that are a `Box`, where they are a `Dict` or a `Tuple`."""
    return env if isinstance(env.observation_space, gym.spaces.Box) else gym.wrappers.FlattenObservation(env)


def with_past_actions(space: StateSpace, delay: Delay, names: tuple[str, ...]) -> StateSpace:
    """The space with past actions as further coordinates, named by the time since they were chosen."""
    names = names or tuple(f"choice {i}" for i in range(delay.numbers))
    past = (
        f"{name}, {k} steps ago" if k > 1 else f"{name}, 1 step ago"
        for k in range(1, delay.slots + 1)
        for name in names
    )
    return StateSpace(delay.whole_size, space.angles, space.velocities, space.dt, (*space.names, *past))


def without_past_actions(space: StateSpace, delay: Delay) -> StateSpace:
    """The space of the system alone."""
    return StateSpace(delay.size, space.angles, space.velocities, space.dt, space.names[: delay.size])


class DelayedActions(gym.Wrapper):
    """A Gymnasium environment whose actions act `steps` steps after they are given, and change by at most `change`.

    Its observations [n + q k] end with the past actions, newest first, as numbers: one for each choice of a `Discrete`
    action (one-hot).
    """

    def __init__(self, env: gym.Env, steps: int, change: tuple[float, ...] | None = None):
        super().__init__(env)
        inner, actions = env.observation_space, env.action_space
        assert isinstance(inner, gym.spaces.Box)
        self._codec = ActionCodec(env.action_space, type(env.unwrapped).__name__)
        self._actions = self._codec.actions()
        self._delay = Delay.of(steps, int(np.prod(inner.shape or ())), self._actions, change)
        self._first = int(actions.start) if isinstance(actions, gym.spaces.Discrete) else 0
        bounds = (actions.low, actions.high) if isinstance(actions, gym.spaces.Box) else (0.0, 1.0)
        past = [
            np.tile(np.broadcast_to(np.ravel(bound), (self._delay.numbers,)), self._delay.slots) for bound in bounds
        ]
        low, high = (np.concatenate([np.ravel(a), b]) for a, b in zip((inner.low, inner.high), past, strict=True))
        kind: Any = inner.dtype
        self.observation_space = gym.spaces.Box(low.astype(kind), high.astype(kind), dtype=kind)

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """The first observation; the resting action acted before."""
        observation, info = self.env.reset(**kwargs)
        self._past = [np.asarray(resting_action(self._actions))] * self._delay.slots
        return self._with_past(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step, in which the oldest past action acts; without a delay, the one that is sent now."""
        self._past.insert(0, self._sent(self._codec.read(self._numbered(action), 0)))
        acting = self._past.pop() if self._delay.steps else self._past[0]
        del self._past[self._delay.slots :]
        observation, reward, terminated, truncated, info = self.env.step(self._codec.write(acting))
        return self._with_past(observation), reward, terminated, truncated, info

    def _sent(self, u: np.ndarray) -> np.ndarray:
        if self._delay.change is None:
            return u
        return np.asarray(self._delay.sent(np.asarray(self._past[0]), u)).astype(u.dtype)

    def _with_past(self, observation: Any) -> np.ndarray:
        numbers = [self._numbers(u) for u in self._past]
        return np.concatenate([np.ravel(observation), *numbers]).astype(self.observation_space.dtype)

    def _numbered(self, action: Any) -> np.ndarray:
        """The action as the codec reads it: [m], or an integer from 0."""
        given = np.asarray(action)
        return np.asarray(given - self._first) if self._delay.discrete else given.reshape(-1)

    def _numbers(self, u: np.ndarray) -> np.ndarray:
        return np.arange(self._delay.numbers) == int(u) if self._delay.discrete else u
