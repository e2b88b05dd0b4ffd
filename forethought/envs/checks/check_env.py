"""`check_env`: tests an environment, its cost function and its termination function with random actions."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import jax.numpy as jnp
import jax.random as jr
from gymnasium.utils.env_checker import check_env as gymnasium_check
from jaxtyping import PRNGKeyArray

from forethought.core import EnvironmentFailure, Transition, UsageError
from forethought.dynamics.time_step import check_velocities
from forethought.envs.checks.findings import CheckReport, Finding
from forethought.envs.checks.functions import check_cost, check_termination
from forethought.envs.checks.recorded_data import check_data
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.env import Env, spaces_of
from forethought.envs.environment import Environment
from forethought.envs.episode import join_pieces
from forethought.envs.functions import load_function
from forethought.envs.grids.mazes import MAZES
from forethought.envs.gym_attributes import time_limit, time_step
from forethought.envs.gym_env import GymEnv
from forethought.envs.make import make_gym
from forethought.envs.random_actions import RandomActions
from forethought.envs.repeatability import first_difference
from forethought.envs.shipped import NAMESPACE
from forethought.envs.violations import Violations
from forethought.tasks.function_task import CostFunction, TerminationFunction, first_line

LEAST_STEPS = 200  # smallest total number of steps
MOST_STEPS = 3000  # total number of steps after which no new episode starts
UNLIMITED_HORIZON = 500  # maximum length of an episode if the environment has no time limit, steps
LARGE_STATE = 500  # largest number of entries of a state; a larger observation is treated as an image

REMEDIES = ("return ", "look for ", "guard ")  # first words of the remedies in errors about an episode

# Harmless warnings of Gymnasium's own checker.
HARMLESS = ("minimum value is -infinity", "maximum value is infinity", "symmetric and normalized", "render mode")


def check_env(env: Any, *, episodes: int = 5, seed: int = 0, **options: Any) -> CheckReport:
    """Run episodes of random actions and report everything that would hinder learning.

    Args:
        env: as in `open_env`.
        episodes: number of episodes; more are run if they are short, fewer if they are long.
        seed: random seed of the episodes.
        **options: the fields of `Environment`; cost and termination are compared with the environment's own.
    Raises:
        UsageError: there is no such environment, module or function.
    """
    environment = Environment.of(env, **options)
    cost = load_function(environment.cost, "cost")
    termination = load_function(environment.termination, "termination")
    plain = replace(
        environment, cost=None, termination=None, action_delay=None, action_rate=None, observation_delay=None
    )
    foreign = isinstance(plain.id, str) and (
        not plain.id.startswith(NAMESPACE) or plain.id.removeprefix(NAMESPACE) in MAZES
    )
    if isinstance(plain.id, gym.Env) or foreign:
        raw = plain.id if isinstance(plain.id, gym.Env) else make_gym(plain.id, **dict(plain.make_kwargs))
        return _check_gym(raw, replace(plain, id=raw, make_kwargs=()), plain.name, cost, termination, episodes, seed)
    opened = replace(plain, angles=None).open()
    cost = cost or (lambda x, u: opened.task.cost(x, u, jnp.zeros((), jnp.int32)))
    angles = plain.angles or opened.space.angles
    trial, findings = _try_out(opened, episodes, jr.key(seed))
    findings += _data_and_functions(opened, trial, cost, termination or opened.task.terminal, angles)
    return CheckReport(opened.name, tuple(findings), len(trial), sum(map(len, trial)))


def _check_gym(
    raw: gym.Env,
    environment: Environment,
    name: str,
    cost: CostFunction | None,
    termination: TerminationFunction | None,
    episodes: int,
    seed: int,
) -> CheckReport:
    """Spaces, time step and wrappers first; episodes only if the spaces allow them."""
    findings = [*_spaces(raw, name), *_time_step(raw, environment), *_wrappers(raw)]
    if any(finding.name.endswith("space") and finding.level == "fail" for finding in findings):
        return CheckReport(name, (*findings, *_gymnasium(raw)), 0, 0)
    limit = environment.horizon if environment.horizon is not None else time_limit(raw)
    env = (environment if limit is not None else replace(environment, horizon=UNLIMITED_HORIZON)).open()
    trial, failures = _try_out(env, episodes, jr.key(seed))
    findings += [_time_limit(limit, trial), *failures]
    findings += _data_and_functions(env, trial, cost, termination, environment.angles or ())
    return CheckReport(name, (*findings, *_gymnasium(raw)), len(trial), sum(map(len, trial)))


def _constraint(violations: Violations) -> Finding:
    detail = f"by random actions {violations}"
    if not violations.started:
        return Finding("constraint", "ok", detail)
    where = f"it is violated in the first state of {violations.started} episodes, before any action"
    return Finding("constraint", "warn", f"{detail}; {where}", "check its sign: its values must not be positive")


def _data_and_functions(
    env: Env,
    trial: list[Transition],
    cost: CostFunction | None,
    termination: TerminationFunction | None,
    angles: tuple[int, ...],
) -> Iterator[Finding]:
    """Findings from episodes of random actions."""
    if trial:
        if spaces_of(env).observations.is_vector:
            yield from check_data(trial, angles, env.task.dt, env.space.names)
        if env.space.velocities:
            yield _velocities(env, trial)
        if cost is not None:
            yield from check_cost(cost, trial)
        yield from check_termination(termination, trial)
        violations = Violations.of(env.task, trial)
        if violations is not None:
            yield _constraint(violations)


def _velocities(env: Env, trial: list[Transition]) -> Finding:
    """Whether changes of positions agree with the velocities and the time step."""
    try:
        check_velocities(env.space, join_pieces(trial))
    except UsageError as error:
        what, _, remedy = str(error).rpartition(". ")
        return Finding("velocities", "fail", what, remedy)
    return Finding("velocities", "ok", f"positions change at these rates, with a time step of {env.space.dt:g} s")


def _try_out(env: Env, episodes: int, key: PRNGKeyArray) -> tuple[list[Transition], list[Finding]]:
    """Episodes of random actions, the first of them run twice, and the findings about them."""
    controller = RandomActions(env.task.action_space)
    trial: list[Transition] = []
    steps = 0
    try:
        while steps < MOST_STEPS and len(trial) < 10 * episodes and (len(trial) < episodes or steps < LEAST_STEPS):
            trial.append(env.run(controller, key=jr.fold_in(key, len(trial))))
            steps += len(trial[-1])
        again = env.run(controller, key=jr.fold_in(key, 0))
    except EnvironmentFailure as error:
        if isinstance(error.episode, Transition):
            trial.append(error.episode)
        return trial, [Finding("episodes", "fail", *_with_remedy(str(error)))]
    detail = f"{len(trial)} of random actions, {steps} steps, all numbers finite, all shapes constant"
    return trial, [Finding("episodes", "ok", detail), _repeatability(env, trial[0], again)]


def _with_remedy(message: str) -> tuple[str, str]:
    """An error about an episode, split into description and remedy; the default remedy is for non-finite numbers."""
    for start in REMEDIES:
        what, found, rest = message.partition(f": {start}")
        if found:
            return what, f"{start}{rest}".rstrip(".")
    return message, "guard the arithmetic of the environment, or end the episode before such a state"


def _repeatability(env: Env, first: Transition, again: Transition) -> Finding:
    """Whether an episode depends on its seed and actions alone, not on the episodes before it."""
    name, step = "repeatability", first_difference(first, again)
    if step is None:
        return Finding(name, "ok", "the same seed and actions give the same episode")
    nondeterministic = isinstance(env, GymEnv) and env.nondeterministic
    if step == 0:
        detail = "the same seed gave a different initial state"
        remedy = "call super().reset(seed=seed) in reset, and draw from self.np_random only"
    else:
        detail = f"the same seed and actions gave a different result at step {step}"
        remedy = "draw from self.np_random only, and keep nothing across resets (such as a running normalization)"
    return Finding(
        name, "warn" if nondeterministic else "fail", detail, f"{remedy}; otherwise runs do not resume exactly"
    )


def _spaces(env: gym.Env, name: str) -> Iterator[Finding]:
    for kind, codec, space in (
        ("action space", ActionCodec, env.action_space),
        ("observation space", ObservationCodec, env.observation_space),
    ):
        try:
            size = codec(space, name).size
        except UsageError as error:
            what, _, remedy = str(error).partition(": ")
            yield Finding(kind, "fail", what, remedy)
            continue
        discrete = isinstance(space, gym.spaces.Discrete)
        if size > LARGE_STATE and not discrete:
            detail = f"{size} numbers: an image, not a state"
            yield Finding(kind, "warn", detail, "planners need a state with few entries")
        else:
            shown = " ".join(str(space).split())
            short = shown if len(shown) <= 60 else f"{shown[:57]}..."
            yield Finding(kind, "ok", short if discrete else f"{size} number{'s' if size > 1 else ''}, {short}")


def _time_limit(limit: int | None, trial: list[Transition]) -> Finding:
    """Whether episodes end: by the time limit, or by themselves."""
    name = "time limit"
    if limit is not None:
        return Finding(name, "ok", f"{limit} steps")
    lengths = [len(episode) for episode in trial]
    if lengths and max(lengths) < UNLIMITED_HORIZON:
        return Finding(name, "ok", f"none registered; episodes ended by themselves after at most {max(lengths)} steps")
    detail = f"none registered, and an episode of random actions did not end within {UNLIMITED_HORIZON} steps"
    return Finding(name, "warn", detail, "pass --horizon STEPS, or register it with max_episode_steps")


def _time_step(env: gym.Env, environment: Environment) -> Iterator[Finding]:
    if environment.dt is None and time_step(env) is None:
        remedy = "pass --dt SECONDS, or give the environment an attribute dt"
        yield Finding("time step", "warn", "unknown, taken as 1 s: times in reports will be steps", remedy)


def _wrappers(env: gym.Env) -> Iterator[Finding]:
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, gym.wrappers.Autoreset):
            remedy = "remove it: each episode is reset with its own seed here"
            yield Finding("wrappers", "warn", "Autoreset starts a new episode by itself", remedy)
        layer = layer.env


def _gymnasium(env: gym.Env) -> Iterator[Finding]:
    """Findings of Gymnasium's own checker, except for those that do no harm here."""
    said: list[Finding] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            gymnasium_check(env.unwrapped, skip_render_check=True, skip_close_check=True)
        except Exception as error:  # AssertionError, or any exception of the environment
            said.append(Finding("gymnasium", "fail", _plain(first_line(error)), "see Gymnasium's documentation of Env"))
    messages = {_plain(str(warning.message)) for warning in caught}
    serious = sorted(m for m in messages if not any(harmless in m for harmless in HARMLESS))
    said += [Finding("gymnasium", "warn", message) for message in serious]
    yield from said or [Finding("gymnasium", "ok", "its own checker finds no problem")]


def _plain(message: str) -> str:
    """The text without terminal colors and without its level."""
    return re.sub(r"\x1b\[\d+m", "", message).strip().removeprefix("WARN: ")
