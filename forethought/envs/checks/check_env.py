"""`check_env`: what is wrong with an environment, a cost or a termination function, tried on real transitions."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import gymnasium as gym
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from gymnasium.utils.env_checker import check_env as gymnasium_check
from jaxtyping import Array, PRNGKeyArray

from forethought.core import Box, Discrete, EnvironmentFailure, Transition, UsageError
from forethought.envs.checks.findings import CheckReport, Finding
from forethought.envs.checks.functions import check_cost, check_termination
from forethought.envs.checks.recorded_data import check_data
from forethought.envs.codecs import ActionCodec, ObservationCodec
from forethought.envs.env import Env
from forethought.envs.environment import Environment
from forethought.envs.functions import load_function
from forethought.envs.gym_env import GymEnv, time_limit, time_step
from forethought.envs.make import make_gym
from forethought.envs.shipped import NAMESPACE
from forethought.tasks.function_task import CostFunction, TerminationFunction, first_line

LEAST_STEPS = 200  # further episodes are begun until there are so many
MOST_STEPS = 3000  # no further episode is begun after so many
UNLIMITED_HORIZON = 500  # steps of the trial episodes where the environment has no time limit
LARGE_STATE = 500  # numbers in an observation beyond which it is a picture rather than a state

# Gymnasium's own checker warns of these; they do no harm here.
HARMLESS = ("minimum value is -infinity", "maximum value is infinity", "symmetric and normalized", "render mode")


def check_env(env: Any, *, episodes: int = 5, seed: int = 0, **options: Any) -> CheckReport:
    """Try an environment out with random actions, and tell everything that would hurt learning to control it.

    Args:
        env: as in `open_env`.
        episodes: of random actions; more where they are short, fewer where they are long.
        seed: seeds the trial.
        **options: the fields of `Environment`; cost and termination are compared with what the environment says.
    Raises:
        UsageError: there is no such environment, module or function: nothing to check.
    """
    environment = Environment.of(env, **options)
    cost = load_function(environment.cost, "cost")
    termination = load_function(environment.termination, "termination")
    plain = replace(environment, cost=None, termination=None)
    if isinstance(plain.id, gym.Env) or (isinstance(plain.id, str) and not plain.id.startswith(NAMESPACE)):
        raw = plain.id if isinstance(plain.id, gym.Env) else make_gym(plain.id, **dict(plain.make_kwargs))
        return _check_gym(raw, replace(plain, id=raw, make_kwargs=()), plain.name, cost, termination, episodes, seed)
    opened = replace(plain, angles=None).open()
    cost = cost or (lambda x, u: opened.task.cost(x, u, jnp.zeros((), jnp.int32)))
    angles = plain.angles or opened.space.angles
    return _report(opened, [], cost, termination or opened.task.terminal, angles, episodes, seed)


def _check_gym(
    raw: gym.Env,
    environment: Environment,
    name: str,
    cost: CostFunction | None,
    termination: TerminationFunction | None,
    episodes: int,
    seed: int,
) -> CheckReport:
    """Spaces, clock and wrappers first; episodes only where the spaces allow them."""
    findings = [*_spaces(raw, name), *_clock(raw, environment), *_wrappers(raw)]
    if any(finding.name.endswith("space") and finding.level == "fail" for finding in findings):
        return CheckReport(name, (*findings, *_gymnasium(raw)), 0, 0)
    known_length = environment.horizon is not None or time_limit(raw) is not None
    env = (environment if known_length else replace(environment, horizon=UNLIMITED_HORIZON)).open()
    report = _report(env, findings, cost, termination, environment.angles or (), episodes, seed)
    return CheckReport(name, (*report.findings, *_gymnasium(raw)), report.episodes, report.steps)


def _report(
    env: Env,
    findings: list[Finding],
    cost: CostFunction | None,
    termination: TerminationFunction | None,
    angles: tuple[int, ...],
    episodes: int,
    seed: int,
) -> CheckReport:
    """The findings so far, and those from episodes of random actions."""
    trial, failures = _try_out(env, episodes, jr.key(seed))
    findings = [*findings, *failures]
    if trial:
        n, m = trial[0].x.shape[1], trial[0].u.shape[1]
        findings += check_data(trial, angles, env.task.dt)
        findings += check_cost(cost, trial, n, m) if cost is not None else []
        findings += check_termination(termination, trial, n)
    return CheckReport(env.name, tuple(findings), len(trial), sum(map(len, trial)))


class _Uniform(eqx.Module):
    """Random actions, uniform within the limits."""

    space: Box | Discrete

    def init(self, x0: Array, *, key: PRNGKeyArray) -> tuple:
        """No memory."""
        del x0, key
        return ()

    def act(self, x: Array, t: Array, carry: tuple, *, key: PRNGKeyArray) -> tuple[Array, tuple]:
        """One action."""
        del x, t
        return self.space.sample(key=key), carry


def _try_out(env: Env, episodes: int, key: PRNGKeyArray) -> tuple[list[Transition], list[Finding]]:
    """Episodes of random actions, the first of them twice, and what went wrong in them."""
    controller = _Uniform(env.task.action_space)
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
        remedy = "guard the arithmetic of the environment, or end the episode before it gets there"
        return trial, [Finding("episodes", "fail", str(error), remedy)]
    detail = f"{len(trial)} of random actions, {steps} steps, all numbers finite and of one shape"
    return trial, [Finding("episodes", "ok", detail), _repeatability(env, trial[0], again)]


def _repeatability(env: Env, first: Transition, again: Transition) -> Finding:
    """Whether an episode is a function of seed and actions, also when others came in between."""
    name = "repeatability"
    steps = min(len(first), len(again))
    same = [
        all(np.array_equal(a[t], b[t]) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True))
        for t in range(steps)
    ]
    if all(same) and len(first) == len(again):
        return Finding(name, "ok", "the same seed and actions give the same episode")
    t = same.index(False) if not all(same) else steps
    nondeterministic = isinstance(env, GymEnv) and env.nondeterministic
    if not np.array_equal(first.x[0], again.x[0]):
        detail = "the same seed gave another first state"
        remedy = "call super().reset(seed=seed) in reset, and draw from self.np_random only"
    else:
        detail = f"the same seed and actions gave another step {t + 1}"
        remedy = "draw from self.np_random only, and let nothing (a running normalization, say) survive a reset"
    return Finding(name, "warn" if nondeterministic else "fail", detail, f"{remedy}; else runs do not resume exactly")


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
        if size > LARGE_STATE:
            detail, remedy = f"{size} numbers: more a picture than a state", "give the planner a state of few numbers"
            yield Finding(kind, "warn", detail, remedy)
        else:
            shown = " ".join(str(space).split())
            short = shown if len(shown) <= 60 else f"{shown[:57]}..."
            yield Finding(kind, "ok", f"{size} number{'s' if size > 1 else ''}, {short}")


def _clock(env: gym.Env, environment: Environment) -> Iterator[Finding]:
    limit, horizon = time_limit(env), environment.horizon
    if limit is None and horizon is None:
        remedy = "register it with max_episode_steps, or pass a horizon"
        yield Finding("time limit", "fail", "none: an episode may never end", remedy)
    else:
        yield Finding("time limit", "ok", f"{horizon or limit} steps")
    if environment.dt is None and time_step(env) is None:
        remedy = "give the environment an attribute dt, in seconds"
        yield Finding("time step", "warn", "unknown, taken as 1 s: times in reports will be steps", remedy)


def _wrappers(env: gym.Env) -> Iterator[Finding]:
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(layer, gym.wrappers.Autoreset):
            remedy = "leave it out: here each episode is reset from its own seed"
            yield Finding("wrappers", "warn", "Autoreset starts a new episode by itself", remedy)
        layer = layer.env


def _gymnasium(env: gym.Env) -> Iterator[Finding]:
    """What Gymnasium's own checker says, without what does no harm here."""
    said: list[Finding] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            gymnasium_check(env.unwrapped, skip_render_check=True, skip_close_check=True)
        except Exception as error:  # it raises AssertionError, or whatever the environment does
            said.append(Finding("gymnasium", "fail", _plain(first_line(error)), "see Gymnasium's documentation of Env"))
    messages = {_plain(str(warning.message)) for warning in caught}
    serious = sorted(m for m in messages if not any(harmless in m for harmless in HARMLESS))
    said += [Finding("gymnasium", "warn", message) for message in serious]
    yield from said or [Finding("gymnasium", "ok", "its own checker finds nothing that matters here")]


def _plain(message: str) -> str:
    """Without terminal colors and level."""
    return re.sub(r"\x1b\[\d+m", "", message).strip().removeprefix("WARN: ")
