"""Our own systems as environments: an episode is a compiled loop over known dynamics."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.core import (
    HasInitialStates,
    Problem,
    Task,
    Transition,
    UsageError,
    step_cost,
)
from forethought.core.data import AnyArray
from forethought.core.delay import Delay
from forethought.dynamics.residual import Physics, require_physics
from forethought.dynamics.space import StateSpace
from forethought.envs.compiled import CompiledEpisode, Step
from forethought.envs.episode import run_episode

SENSORS = 0xFFFFFFFF  # folded into the key of the steps; they fold their number, from 0 up, into it


@runtime_checkable
class Renderer(Protocol):
    """Draws a state; numpy in and out."""

    def __call__(self, problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        """An RGB picture [height, width, 3] uint8 of state `x` while `u` acts (None: nothing acts)."""
        ...


class SystemEnv(eqx.Module):
    """A `Problem` with known dynamics, as a real system to learn from.

    An episode starts in `task.initial`, moves by samples of `dynamics`, clips actions to the task's limits (the
    clipped action is what is recorded), pays `reward = -cost(x, u, t)`, and ends in a terminal state or at the horizon.
    The controller is an argument of the compiled function: one that differs only in its arrays compiles nothing new.

    With `observation_std` sensors are noisy: the controller sees, and the record holds, readings of the states, each
    the state plus Gaussian noise of its own, read once (`x_next` of one step is `x` of the next).  Motion, cost and
    terminal states follow the true state, which is nowhere recorded; so a task's `solved` judges the readings.
    """

    name: str
    problem: Problem
    space: StateSpace
    renderer: Renderer | None = eqx.field(static=True, default=None)
    observation_std: float | tuple[float, ...] = eqx.field(static=True, default=0.0)  # of each coordinate, or of all
    physics: Physics | None = eqx.field(static=True, default=None)  # what a learner is told of the dynamics
    delay: Delay | None = eqx.field(static=True, default=None)  # of the actions, whose past is part of the states

    learn_reward: ClassVar[bool] = False
    learn_termination: ClassVar[bool] = False

    def __check_init__(self):
        """One standard deviation of sensor noise, or one for each coordinate."""
        stds = np.asarray(self.observation_std, np.float64)
        if stds.shape not in ((), (self.space.size,)) or not (np.isfinite(stds) & (stds >= 0)).all():
            raise UsageError(
                f"{self.name}: observation noise is one standard deviation, or one for each of the {self.space.size} "
                f"coordinates, at least 0; got {self.observation_std}."
            )

    @property
    def task(self) -> Task:
        """What is wanted."""
        return self.problem.task

    @property
    def sensors(self) -> Float[np.ndarray, "n"] | None:
        """Standard deviation of every coordinate's noise; None where readings are exact."""
        stds = np.broadcast_to(np.asarray(self.observation_std, np.float64), (self.space.size,))
        return stds if stds.any() else None

    @property
    def system(self) -> "KnownSystem":
        """See `CompiledEnv`."""
        return KnownSystem(self.problem, self.sensors)

    run = run_episode

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> CompiledEpisode:
        """A new episode; see `Env.start`.  `options={"x0": state}` gives the initial state itself.

        If the task has a fixed set of initial states (`HasInitialStates`), `options={"condition": i}` chooses one.

        Raises:
            UsageError: other options, a state of another size, or no such initial state.
        """
        start_key, controller_key, step_key = jr.split(key, 3)
        x = _initial(self.problem, start_key if reset_key is None else reset_key)
        x = x if options is None else given_state(self, options, x)
        seen = read_sensors(x, self.sensors, np.int32(0), step_key)
        return CompiledEpisode(self, x, seen, controller_key, step_key, frames)

    def pictures(self, episode: Transition, start: int = 0) -> list[np.ndarray]:
        """The T + 1 states of steps that begin at step `start` as RGB pictures."""
        dt = self.task.dt
        steps = enumerate(zip(episode.x, episode.u, strict=True), start)
        return [
            *(self.picture(x, u, t * dt) for t, (x, u) in steps),
            self.picture(episode.x_next[-1], None, (start + len(episode)) * dt),
        ]

    def picture(self, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        """One state as an RGB picture [height, width, 3] uint8."""
        if self.renderer is None:
            raise UsageError(f"{self.name} cannot be drawn; give SystemEnv a renderer.")
        return self.renderer(self.problem, x, u, seconds)


class KnownSystem(eqx.Module):
    """A `Problem` and the noise of its sensors; see `CompiledSystem`.  An observation is a reading of the state."""

    problem: Problem
    sensors: Float[np.ndarray, "n"] | None

    def first(self, *, key: PRNGKeyArray, sensor_key: PRNGKeyArray) -> tuple[Float[Array, "n"], Float[Array, "n"]]:
        """An initial state and a reading of it."""
        x = self.problem.task.initial(key=key)
        return x, read_sensors(x, self.sensors, jnp.zeros((), jnp.int32), sensor_key)

    def step(self, state: Any, x: Any, wish: Any, t: Any, *, key: PRNGKeyArray) -> tuple[Any, Step]:
        """The next state and the record of the step."""
        return one_step(self.problem, self.sensors, state, x, wish, t, key)


@eqx.filter_jit
def _initial(problem: Problem, key: PRNGKeyArray) -> Float[Array, "n"]:
    return problem.task.initial(key=key)


def given_state(env: SystemEnv, options: Mapping[str, Any], x: Float[AnyArray, "n"]) -> Float[Array, "n"]:
    """The initial state that the reset options determine; `x` is the one to use if there are none.

    Raises:
        UsageError: unknown options, a state of another size, or no such initial state.
    """
    states = env.task.initial_states if isinstance(env.task, HasInitialStates) else None
    known = {"x0": "the initial state"} | ({} if states is None else {"condition": "the index of an initial state"})
    if not options:
        return jnp.asarray(x)
    if len(options) > 1 or set(options) - set(known):
        what = " or ".join(f"{name}, {meaning}" for name, meaning in known.items())
        raise UsageError(f"{env.name} has the reset option {what}; got {sorted(options)}.")
    if states is not None and "condition" in options:
        index = options["condition"]
        if not isinstance(index, int | np.integer) or not 0 <= index < states.shape[0]:
            raise UsageError(f"{env.name} has the conditions 0 to {states.shape[0] - 1}; got {index!r}.")
        return states[int(index)].astype(x.dtype)
    given = jnp.asarray(options["x0"], x.dtype)
    if given.shape != x.shape:
        raise UsageError(f"{env.name} has states of shape {list(x.shape)}; x0 has {list(given.shape)}.")
    return given


@eqx.filter_jit
def one_step(
    problem: Problem, sensors: Any, x: Any, seen: Any, wish: Any, t: Any, key: PRNGKeyArray
) -> tuple[Any, Step]:
    """The next state under the action that the controller asks for, having `seen` a reading of `x`; and its record."""
    task, t = problem.task, jnp.asarray(t)
    u = task.action_space.clip(wish)
    noise_key = jr.split(jr.fold_in(key, t))[1]
    x_next = problem.dynamics(x, u, t).sample(key=noise_key)
    row = Transition(
        x=seen,
        u=u,
        x_next=read_sensors(x_next, sensors, t + 1, key),
        reward=-step_cost(task, x, u, x_next, t),
        terminated=task.terminal(x_next),
        truncated=jnp.zeros((), bool),
    )
    return x_next, Step(row, jnp.all(jnp.isfinite(wish)))


@eqx.filter_jit
def read_sensors(x: Any, sensors: Any, t: Any, key: PRNGKeyArray) -> Any:
    """What the sensors show of the state at step `t`."""
    if sensors is None:
        return x
    noise = jr.normal(jr.fold_in(jr.fold_in(key, SENSORS), t), x.shape, x.dtype)
    return x + jnp.asarray(sensors, x.dtype) * noise


def with_observation_noise(env: Any, std: float | tuple[float, ...]) -> Any:
    """`env` with sensors of this noise, instead of those it has.

    Raises:
        UsageError: it is not a `SystemEnv`, whose true state is known, and `std` is not 0.
    """
    if isinstance(env, SystemEnv):
        return replace(env, observation_std=std)
    if not np.any(np.asarray(std)):
        return env
    raise UsageError(
        f"observation noise is for our own systems (forethought/...), not for {env.name}: there, add it in a wrapper "
        "(gymnasium.wrappers.TransformObservation)."
    )


def with_physics(env: Any, known: Any) -> Any:
    """`env` whose learners are told `known`, a function (x, u) -> x' or `Dynamics`, of its dynamics.

    Raises:
        UsageError: it is not a `SystemEnv`, or the physics do not fit its states, actions or time step.
    """
    if not isinstance(env, SystemEnv):
        raise UsageError(f"physics are for Gymnasium environments and systems; {env.name} is a {type(env).__name__}.")
    x = jax.ShapeDtypeStruct((env.space.size,), jnp.result_type(float))
    u = env.task.action_space.example()
    return replace(env, physics=require_physics(known, x, u, env.task.dt))
