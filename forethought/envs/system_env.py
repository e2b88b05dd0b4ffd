"""Our own systems as environments: an episode is a compiled scan over known dynamics."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Controller, EnvironmentFailure, Problem, Task, Transition, UsageError, box_of, step_cost
from forethought.dynamics.space import StateSpace
from forethought.envs.acting import Actor, runs_on_host
from forethought.envs.episode import at_most

OnStep = Callable[[int, float], None] | None
CHUNK = 10  # steps between two calls of `on_step`, at most
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
        horizon = at_most(steps, self.task.horizon)
        row = (
            self._on_host(controller, key, on_step, horizon)
            if runs_on_host(controller)
            else self._scan(controller, key, on_step, horizon)
        )
        row.truncated[-1] = not row.terminated[-1]
        if frames is not None:
            frames += self.pictures(row)
        return row

    def _scan(self, controller: Controller, key: PRNGKeyArray, on_step: OnStep, horizon: int) -> Transition:
        """An episode in compiled pieces of at most `CHUNK` steps."""
        chunk = math.ceil(horizon / math.ceil(horizon / CHUNK))
        sensors = self.sensors
        moment, step_key = _begin(self.problem, sensors, controller, key)
        parts: list[_Step] = []
        for start in range(0, horizon, chunk):
            moment, part = _advance(self.problem, sensors, controller, moment, jnp.asarray(start), step_key, chunk)
            parts.append(jax.tree.map(np.asarray, part))
            steps = jax.tree.map(lambda *rows: np.concatenate(rows)[:horizon], *parts)
            steps, over = _until_terminated(steps)
            self._check(steps)
            if on_step is not None:
                on_step(len(steps.row), float(steps.row.reward.sum()))
            if over:
                break
        return steps.row

    def _on_host(self, controller: Controller, key: PRNGKeyArray, on_step: OnStep, horizon: int) -> Transition:
        """An episode step by step, for a controller that cannot be traced."""
        start_key, controller_key, step_key = jr.split(key, 3)
        x, seen = _initial(self.problem, self.sensors, start_key, step_key)
        actor = Actor(controller, np.asarray(seen), key=controller_key)
        parts: list[_Step] = []
        for t in range(horizon):
            wish = np.asarray(actor(np.asarray(seen), t))
            x, part = _one_step(self.problem, self.sensors, x, seen, wish, np.int32(t), step_key)
            parts.append(jax.tree.map(np.asarray, part))
            steps = jax.tree.map(lambda *rows: np.stack(rows), *parts)
            self._check(steps)
            if on_step is not None:
                on_step(t + 1, float(steps.row.reward.sum()))
            if part.row.terminated:
                break
            seen = part.row.x_next
        return steps.row

    def pictures(self, episode: Transition) -> list[np.ndarray]:
        """The episode's T + 1 states as RGB pictures."""
        dt = self.task.dt
        pictures = [self.picture(x, u, t * dt) for t, (x, u) in enumerate(zip(episode.x, episode.u, strict=True))]
        return [*pictures, self.picture(episode.x_next[-1], None, len(episode) * dt)]

    def picture(self, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        """One state as an RGB picture [height, width, 3] uint8."""
        if self.renderer is None:
            raise UsageError(f"{self.name} cannot be drawn; give SystemEnv a renderer.")
        return self.renderer(self.problem, x, u, seconds)

    def _check(self, steps: "_Step") -> None:
        """Raise `EnvironmentFailure` for the first step with a number that is not finite."""
        row = steps.row
        culprits = {
            "the state": ~np.isfinite(row.x).all(-1),
            "the controller's action": ~steps.action_finite,
            "the cost": ~np.isfinite(row.reward),
            "the state after it": ~np.isfinite(row.x_next).all(-1),
        }
        bad = np.flatnonzero(np.any(list(culprits.values()), axis=0))
        if bad.size:
            t = int(bad[0])
            culprit = next(name for name, where in culprits.items() if where[t])
            before = jax.tree.map(lambda a: a[:t], row) if t else None
            raise EnvironmentFailure(f"{self.name}: {culprit} is not finite (NaN or infinite) at step {t}.", before)


class _Step(eqx.Module):
    """What a step leaves behind, leading axis [T]."""

    row: Transition
    action_finite: Bool[Array, "*T"] | Bool[np.ndarray, "*T"]


@eqx.filter_jit
def _begin(
    problem: Problem, sensors: Any, controller: Controller, key: PRNGKeyArray
) -> tuple[tuple[Any, Any, Any], PRNGKeyArray]:
    """The first state, its reading and the controller's memory of that, and the key of all later steps."""
    start_key, controller_key, step_key = jr.split(key, 3)
    x0, seen = _initial(problem, sensors, start_key, step_key)
    return (x0, seen, controller.init(seen, key=controller_key)), step_key


@eqx.filter_jit
def _advance(
    problem: Problem,
    sensors: Any,
    controller: Controller,
    moment: Any,
    start: Int[Array, ""],
    key: PRNGKeyArray,
    steps: int,
) -> tuple[Any, _Step]:
    """`steps` steps from `moment = (x, its reading, carry)` at time `start`."""
    arrays, static = eqx.partition(moment, eqx.is_array)

    def step(arrays: Any, t: Int[Array, ""]) -> tuple[Any, _Step]:
        x, seen, carry = eqx.combine(arrays, static)
        act_key = jr.split(jr.fold_in(key, t))[0]
        wish, carry = controller.act(seen, t, carry, key=act_key)
        x_next, done = _one_step(problem, sensors, x, seen, wish, t, key)
        return eqx.filter((x_next, done.row.x_next, carry), eqx.is_array), done

    arrays, trail = jax.lax.scan(step, arrays, start + jnp.arange(steps))
    return eqx.combine(arrays, static), trail


@eqx.filter_jit
def _initial(problem: Problem, sensors: Any, key: PRNGKeyArray, step_key: PRNGKeyArray) -> tuple[Any, Any]:
    """The first state and its reading."""
    x0 = problem.task.initial(key=key)
    return x0, _read(x0, sensors, 0, step_key)


@eqx.filter_jit
def _one_step(
    problem: Problem, sensors: Any, x: Any, seen: Any, wish: Any, t: Any, key: PRNGKeyArray
) -> tuple[Any, _Step]:
    """The next state under the action that the controller wishes, having `seen` a reading of `x`; and the record."""
    task, t = problem.task, jnp.asarray(t)
    u = jnp.clip(wish, box_of(task).low, box_of(task).high)
    noise_key = jr.split(jr.fold_in(key, t))[1]
    x_next = problem.dynamics(x, u, t).sample(key=noise_key)
    row = Transition(
        x=seen,
        u=u,
        x_next=_read(x_next, sensors, t + 1, key),
        reward=-step_cost(task, x, u, x_next, t),
        terminated=task.terminal(x_next),
        truncated=jnp.zeros((), bool),
    )
    return x_next, _Step(row, jnp.all(jnp.isfinite(wish)))


def _read(x: Any, sensors: Any, t: Any, key: PRNGKeyArray) -> Any:
    """What the sensors show of the state at step `t`."""
    if sensors is None:
        return x
    noise = jr.normal(jr.fold_in(jr.fold_in(key, SENSORS), t), x.shape, x.dtype)
    return x + jnp.asarray(sensors, x.dtype) * noise


def _until_terminated(steps: _Step) -> tuple[_Step, bool]:
    """The steps up to and with the first that ended the task, and whether there is one."""
    ends = np.flatnonzero(steps.row.terminated)
    if not ends.size:
        return steps, False
    return jax.tree.map(lambda a: a[: ends[0] + 1], steps), True


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
