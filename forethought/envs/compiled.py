"""Environments whose steps are pure functions: an episode, or many copies side by side, is a compiled loop.

Symbols: state, all that determines what follows, any pytree; x, the observation of a state.
"""

from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, Shaped

from forethought.core import Controller, EnvironmentFailure, Transition
from forethought.envs.acting import Actor, runs_on_host
from forethought.envs.env import Env
from forethought.envs.episode import OnStep, join_pieces, require_running, truncated

CHUNK = 10  # steps of one compiled call, and so between two calls of `on_step`, at most


class Step(eqx.Module):
    """The record of a step, or of T steps with a leading axis [T]."""

    row: Transition
    action_finite: Bool[Array, "*T"] | Bool[np.ndarray, "*T"]


@runtime_checkable
class CompiledSystem(Protocol):
    """Initial states and steps as functions that JAX can trace; a pytree."""

    def first(self, *, key: PRNGKeyArray, sensor_key: PRNGKeyArray) -> tuple[Any, Shaped[Array, "*n"]]:
        """An initial state and its observation."""
        ...

    def step(
        self, state: Any, x: Shaped[Array, "*n"], wish: Shaped[Array, "*m"], t: Int[Array, ""], *, key: PRNGKeyArray
    ) -> tuple[Any, Step]:
        """The state after the action that the controller asks for, and the record of the step.

        Args:
            state: the state.
            x: its observation.
            wish: the controller's action, inside or outside of the limits.
            t: step of the episode.
            key: of the episode; `t` is folded into it.
        """
        ...


@runtime_checkable
class CompiledEnv(Env, Protocol):
    """An environment whose steps are pure functions."""

    @property
    def system(self) -> CompiledSystem:
        """The functions."""
        ...

    def picture(self, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
        """An observation as an RGB picture [height, width, 3] uint8."""
        ...

    def pictures(self, episode: Transition, start: int = 0) -> list[np.ndarray]:
        """The T + 1 observations of steps that begin at step `start` as RGB pictures."""
        ...


class CompiledEpisode:
    """An episode of a `CompiledEnv`, see `Episode`; several of one environment may run side by side."""

    def __init__(
        self,
        env: CompiledEnv,
        state: Any,
        x: Shaped[Array, "*n"],
        controller_key: PRNGKeyArray,
        step_key: PRNGKeyArray,
        frames: list[np.ndarray] | None,
    ):
        """In `state`, whose observation is `x`."""
        self.over = False
        self._env, self._frames, self._key = env, frames, step_key
        self._state = (state, x)
        self._actor = Actor(key=controller_key)
        self._t, self._total = 0, 0.0
        if frames is not None:
            frames.append(env.picture(np.asarray(x), None, 0.0))

    @property
    def x(self) -> np.ndarray:
        """The current observation."""
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
        moment, trail, done = _advance(env.system, controller, moment, start, most, self._key)
        *self._state, self._actor.memory = moment
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: int(done)], trail)

    def _one_on_host(self, count: int) -> "Step":
        """One step with a controller that cannot be traced."""
        del count
        wish = np.asarray(self._actor(self.x, self._t))
        state, step = _one_step(self._env.system, *self._state, wish, np.int32(self._t), self._key)
        self._state = (state, step.row.x_next)
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


def _first_not_finite(steps: Step) -> tuple[int, str] | None:
    """The first step with a number that is not finite, and what it is; None where there is none."""
    row, count = steps.row, len(steps.row)
    culprits = {
        "the state": ~np.isfinite(row.x).reshape(count, -1).all(-1),
        "the controller's action": ~steps.action_finite,
        "the cost": ~np.isfinite(row.reward),
        "the state after it": ~np.isfinite(row.x_next).reshape(count, -1).all(-1),
    }
    bad = np.flatnonzero(np.any(list(culprits.values()), axis=0))
    return (int(bad[0]), next(name for name, where in culprits.items() if where[bad[0]])) if bad.size else None


@eqx.filter_jit
def _advance(
    system: CompiledSystem,
    controller: Controller,
    moment: Any,
    start: Any,
    count: Any,
    key: PRNGKeyArray,
) -> tuple[Any, Step, Int[Array, ""]]:
    """Up to `count` steps from `moment = (state, x, carry)` at time `start`, fewer where one ends the task.

    One program serves every `count` up to `CHUNK`: pieces of an episode join to the very numbers of the whole.
    Returns the moment after them, the steps [CHUNK], and how many of them were done.
    """
    arrays, static = eqx.partition(moment, eqx.is_array)

    def step(arrays: Any, t: Int[Array, ""]) -> tuple[Any, Step]:
        state, x, carry = eqx.combine(arrays, static)
        wish, carry = controller.act(x, t, carry, key=jr.split(jr.fold_in(key, t))[0])
        state, done = system.step(state, x, wish, t, key=key)
        return _strong(eqx.filter((state, done.row.x_next, carry), eqx.is_array)), done

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
def _one_step(system: CompiledSystem, state: Any, x: Any, wish: Any, t: Any, key: PRNGKeyArray) -> tuple[Any, Step]:
    return system.step(state, x, wish, t, key=key)
