"""The parity test of an export: its actions against those of the original controller.

Observations are the steps of a recorded episode from its start, and random ones around all recorded ones.  Each step
of an exported form begins from the memory of the original controller, so differences do not accumulate over an
episode; a sampling planner would amplify any rounding.  The difference of two actions is relative to the range of the
action's coordinate (1 for discrete actions, or where a limit is infinite).
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from forethought.core import Box, ForethoughtError, Observations, Transition, UsageError
from forethought.export.deployable import Deployable, Structure
from forethought.export.standalone import Controller

TOLERANCE = 1e-5  # relative to the range of the actions
SECONDS = 20.0  # s of reference steps of each kind, at most
SPREAD = 2.0  # random observations: standard deviations of the recorded ones


class ParityError(ForethoughtError):
    """An exported form and the original controller differ."""


class Case(NamedTuple):
    """One step of the original controller."""

    x: np.ndarray  # observation of the system
    t: int
    key: np.ndarray  # two uint32 words
    first: np.ndarray  # first observation of the episode, with past actions
    past: np.ndarray | None
    memory: tuple[Any, ...]
    u: np.ndarray  # the action, within its limits
    fresh: bool  # whether the memory is that of an episode that begins with `x`


class Parity(NamedTuple):
    """The outcome for one form."""

    recorded: int  # compared steps of a recorded episode
    random: int  # compared random observations
    largest: float  # largest difference of an action, relative to its range
    not_finite: int  # observations that are not finite, all answered with the fallback action


def cases(
    controller: Deployable, episodes: Sequence[Transition], horizon: int, *, recorded: int, random: int, seed: int = 0
) -> tuple[list[Case], list[Case]]:
    """Steps of the original controller on recorded and on random observations.

    Raises:
        UsageError: the run has no recorded episode.
    """
    if not episodes:
        raise UsageError("the run has no recorded episode to compare actions on: train it for one more round.")
    generator, structure = np.random.default_rng(seed), controller.structure()
    return (
        list(_limited(_recorded(controller, structure, episodes[-1], recorded, generator))),
        list(_limited(_random(controller, structure, episodes, horizon, random, generator))),
    )


def compare(loaded: Controller, recorded: list[Case], random: list[Case], ranges: np.ndarray) -> Parity:
    """The difference of a loaded form.

    Raises:
        ParityError: the difference is above the tolerance, or the answer to a value that is not finite is wrong.
    """
    largest = max((_difference(loaded, case, ranges) for case in (*recorded, *random)), default=0.0)
    if not largest <= TOLERANCE:
        raise ParityError(
            f"the form '{loaded.form}' differs from the controller by {largest:.2g} of the range of the actions, and "
            f"{TOLERANCE:g} is allowed: nothing was exported. Leave this form out with --forms."
        )
    return Parity(len(recorded), len(random), largest, _check_not_finite(loaded, recorded[0]))


def _difference(loaded: Controller, case: Case, ranges: np.ndarray) -> float:
    loaded.resume(case.t, case.first, case.past, case.memory)
    u = loaded.act(case.x, case.t, case.key)
    if not loaded.valid:
        return np.inf
    return float(np.max(np.abs(u.astype(np.float64) - case.u) / ranges))


def _check_not_finite(loaded: Controller, case: Case) -> int:
    """How many values that are not finite were answered with the fallback action."""
    if not np.issubdtype(case.x.dtype, np.floating):
        return 0
    fallback, count = np.asarray(loaded.manifest["fallback"]["action"]), 0
    for value in (np.nan, np.inf, -np.inf):
        for i in range(min(case.x.size, 8)):
            x = case.x.copy()
            x.reshape(-1)[i] = value
            loaded.resume(case.t, case.first, case.past, case.memory)
            u = loaded.act(x, case.t, case.key)
            if loaded.valid or not np.array_equal(u, fallback.astype(u.dtype)):
                raise ParityError(f"the form '{loaded.form}' answers an observation with {value} by {u}: a defect.")
            count += 1
    return count


def _limited(steps: Iterator[Case]) -> Iterator[Case]:
    """The cases that take no longer than `SECONDS`, at least one."""
    start = time.perf_counter()
    for case in steps:
        yield case
        if time.perf_counter() - start > SECONDS:
            return


def _recorded(
    controller: Deployable, structure: Structure, episode: Transition, count: int, generator: np.random.Generator
) -> Iterator[Case]:
    """The first steps of an episode."""
    size = None if controller.delay is None else controller.delay.size
    first, carry = np.asarray(episode.x[0]), None
    for t in range(min(count, len(episode))):
        whole, key = np.asarray(episode.x[t]), _words(generator)
        if carry is None:
            carry = _start(controller.controller, whole, key)
        memory = structure.arrays(carry)
        u, carry = _act(controller.controller, whole, np.int32(t), carry, key)
        past = None if size is None else whole[size:]
        yield _case(controller, whole, t, key, first, past, memory, u, fresh=t == 0)


def _random(
    controller: Deployable,
    structure: Structure,
    episodes: Sequence[Transition],
    horizon: int,
    count: int,
    generator: np.random.Generator,
) -> Iterator[Case]:
    """Random observations, each the first of an episode, at random times."""
    seen = np.concatenate([np.asarray(episode.x) for episode in episodes[-20:]])
    for _ in range(count):
        own = _random_observation(controller.observations, seen, generator)
        past = None if controller.past is None else np.asarray(controller.past)
        whole, key = own if past is None else np.concatenate([own, past]), _words(generator)
        carry = _start(controller.controller, whole, key)
        memory, t = structure.arrays(carry), int(generator.integers(horizon))
        u, _ = _act(controller.controller, whole, np.int32(t), carry, key)
        yield _case(controller, whole, t, key, whole, past, memory, u, fresh=True)


def _case(controller: Deployable, whole: np.ndarray, t: int, key, first, past, memory, u, *, fresh: bool) -> Case:
    x = whole if controller.delay is None else whole[: controller.delay.size]
    u = controller.actions.clip(u)
    u = np.asarray(u if controller.delay is None else controller.delay.sent(past, u)).astype(np.float64)
    return Case(x, t, key, first, past, memory if past is None else (past, *memory), u, fresh)


def _random_observation(about: Observations, seen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if about.counts is not None:
        return np.reshape(generator.integers(np.ravel(about.counts)), about.shape).astype(about.dtype)
    if not about.dtype.startswith("float"):
        return generator.integers(seen.min(), seen.max() + 1, about.shape).astype(about.dtype)
    own = seen[:, : about.shape[0]] if seen.ndim == 2 else seen
    return (own.mean(0) + SPREAD * own.std(0) * generator.standard_normal(about.shape)).astype(about.dtype)


def _words(generator: np.random.Generator) -> np.ndarray:
    return generator.integers(0, 2**32, 2, dtype=np.uint32)


@eqx.filter_jit
def _start(controller: Any, x: Any, key: Any) -> Any:
    return controller.init(jnp.asarray(x), key=jr.wrap_key_data(jnp.asarray(key)))


@eqx.filter_jit
def _act(controller: Any, x: Any, t: Any, carry: Any, key: Any) -> Any:
    return controller.act(jnp.asarray(x), jnp.asarray(t), carry, key=jr.wrap_key_data(jnp.asarray(key)))


def ranges_of(actions: Any) -> np.ndarray:
    """The width of the limits of each coordinate; 1 for discrete actions and infinite limits."""
    if not isinstance(actions, Box):
        return np.ones(())
    width = np.asarray(actions.high, np.float64) - np.asarray(actions.low, np.float64)
    return np.where(np.isfinite(width) & (width > 0), width, 1.0)
