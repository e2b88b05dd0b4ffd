"""Our own systems as environments: an episode is a compiled loop over known dynamics."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import (
    Controller,
    EnvironmentFailure,
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
from forethought.envs.acting import Actor, runs_on_host
from forethought.envs.episode import OnStep, join_pieces, require_running, run_episode, truncated

CHUNK = 10  # steps of one compiled call, and so between two calls of `on_step`, at most
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

    run = run_episode

    def start(
        self,
        *,
        key: PRNGKeyArray,
        reset_key: PRNGKeyArray | None = None,
        options: Mapping[str, Any] | None = None,
        frames: list[np.ndarray] | None = None,
    ) -> "SystemEpisode":
        """A new episode; see `Env.start`.  `options={"x0": state}` gives the initial state itself.

        If the task has a fixed set of initial states (`HasInitialStates`), `options={"condition": i}` chooses one.

        Raises:
            UsageError: other options, a state of another size, or no such initial state.
        """
        start_key, controller_key, step_key = jr.split(key, 3)
        x = _initial(self.problem, start_key if reset_key is None else reset_key)
        x = x if options is None else given_state(self, options, x)
        return SystemEpisode(self, x, controller_key, step_key, frames)

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


class SystemEpisode:
    """An episode of a `SystemEnv`, see `Episode`; several of one environment may run side by side."""

    def __init__(
        self,
        env: SystemEnv,
        x: Float[Array, "n"],
        controller_key: PRNGKeyArray,
        step_key: PRNGKeyArray,
        frames: list[np.ndarray] | None,
    ):
        """In the state `x`."""
        self.over = False
        self._env, self._frames, self._key = env, frames, step_key
        self._state = (x, read_sensors(x, env.sensors, np.int32(0), step_key))  # and what the sensors show of it
        self._actor = Actor(key=controller_key)
        self._t, self._total = 0, 0.0
        if frames is not None:
            frames.append(env.picture(np.asarray(x), None, 0.0))

    @property
    def x(self) -> np.ndarray:
        """What the sensors show now."""
        return np.asarray(self._state[1])

    def advance(self, controller: Controller, *, steps: int, on_step: OnStep | None = None) -> Transition:
        """Up to `steps` further steps, compiled `CHUNK` by `CHUNK` where the controller allows; see `Episode.advance`.

        Raises:
            EnvironmentFailure: a number is not finite; its `episode` holds the steps of this call before that.
            UsageError: the episode is over.
        """
        require_running(self, steps)
        self._actor.take(controller, self.x, self._t)
        some = self._one_on_host if runs_on_host(controller) else partial(self._chunk, controller)
        end, pieces = min(self._t + steps, self._env.task.horizon), []
        while self._t < end and not self.over:
            piece = some(min(CHUNK, end - self._t))
            pieces.append(piece.row)
            self._note(piece, pieces)
            if on_step is not None:
                on_step(self._t, self._total)
        rows = join_pieces(pieces)
        self._draw(rows)
        return rows

    def _chunk(self, controller: Controller, count: int) -> "Step":
        """Up to `count` steps in a compiled loop."""
        env, moment = self._env, (*self._state, self._actor.memory)
        start, most = np.int32(self._t), np.int32(count)
        moment, trail, done = _advance(env.problem, env.sensors, controller, moment, start, most, self._key)
        *self._state, self._actor.memory = moment
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: int(done)], trail)

    def _one_on_host(self, count: int) -> "Step":
        """One step with a controller that cannot be traced."""
        del count
        env, (x, seen) = self._env, self._state
        wish = np.asarray(self._actor(self.x, self._t))
        x, step = one_step(env.problem, env.sensors, x, seen, wish, np.int32(self._t), self._key)
        self._state = (x, step.row.x_next)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], step)

    def _note(self, piece: "Step", pieces: list[Transition]) -> None:
        """Count the steps of `piece`, the last of `pieces`, and see whether they end the episode."""
        row = piece.row
        wrong = _first_not_finite(piece)
        if wrong is not None:
            i, culprit = wrong
            self.over = True
            before = jax.tree.map(lambda leaf: leaf[: leaf.shape[0] - len(row) + i], join_pieces(pieces))
            what = f"{self._env.name}: {culprit} is not finite (NaN or infinite) at step {self._t + i}."
            raise EnvironmentFailure(what, before if len(before) else None)
        self._t, self._total = self._t + len(row), self._total + float(row.reward.sum())
        self.over = bool(row.terminated[-1]) or self._t == self._env.task.horizon
        if self.over:
            pieces[-1] = truncated(row)

    def _draw(self, rows: Transition) -> None:
        """Pictures of these steps; the last state's is drawn again once it is known what acts there."""
        if self._frames is not None:
            self._frames.pop()
            self._frames += self._env.pictures(rows, self._t - len(rows))


class Step(eqx.Module):
    """What a step leaves behind, leading axis [T]."""

    row: Transition
    action_finite: Bool[Array, "*T"] | Bool[np.ndarray, "*T"]


def _first_not_finite(steps: Step) -> tuple[int, str] | None:
    """The first step with a number that is not finite, and what it is; None where there is none."""
    row = steps.row
    culprits = {
        "the state": ~np.isfinite(row.x).all(-1),
        "the controller's action": ~steps.action_finite,
        "the cost": ~np.isfinite(row.reward),
        "the state after it": ~np.isfinite(row.x_next).all(-1),
    }
    bad = np.flatnonzero(np.any(list(culprits.values()), axis=0))
    return (int(bad[0]), next(name for name, where in culprits.items() if where[bad[0]])) if bad.size else None


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
def _advance(
    problem: Problem,
    sensors: Any,
    controller: Controller,
    moment: Any,
    start: Any,
    count: Any,
    key: PRNGKeyArray,
) -> tuple[Any, Step, Int[Array, ""]]:
    """Up to `count` steps from `moment = (x, its reading, carry)` at time `start`, fewer where one ends the task.

    One program serves every `count` up to `CHUNK`: pieces of an episode join to the very numbers of the whole.
    Returns the moment after them, the steps [CHUNK], and how many of them were done.
    """
    arrays, static = eqx.partition(moment, eqx.is_array)

    def step(arrays: Any, t: Int[Array, ""]) -> tuple[Any, Step]:
        x, seen, carry = eqx.combine(arrays, static)
        wish, carry = controller.act(seen, t, carry, key=jr.split(jr.fold_in(key, t))[0])
        x_next, done = one_step(problem, sensors, x, seen, wish, t, key)
        return _strong(eqx.filter((x_next, done.row.x_next, carry), eqx.is_array)), done

    arrays, start = _strong(arrays), jnp.asarray(start)
    step = eqx.filter_closure_convert(step, arrays, start)  # traced once: the loop must know what a step leaves behind
    blank = jax.tree.map(lambda a: jnp.zeros((CHUNK, *a.shape), a.dtype), jax.eval_shape(step, arrays, start)[1])

    def once(loop: Any) -> Any:
        i, arrays, trail, _ = loop
        arrays, done = step(arrays, start + i)
        return i + 1, arrays, jax.tree.map(lambda all, one: all.at[i].set(one), trail, done), done.row.terminated

    begin = (jnp.zeros((), jnp.int32), arrays, blank, jnp.zeros((), bool))
    done, arrays, trail, _ = jax.lax.while_loop(lambda loop: (loop[0] < count) & ~loop[3], once, begin)
    return eqx.combine(arrays, static), trail, done


def _strong(tree: Any) -> Any:
    """Arrays without weak types: what goes into a step is of the type that comes out of it."""
    return jax.tree.map(lambda leaf: leaf.astype(leaf.dtype) if getattr(leaf, "weak_type", False) else leaf, tree)


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
