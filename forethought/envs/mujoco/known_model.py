"""MuJoCo environments and models as known problems: exact dynamics, the environment's own reward and termination."""

import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium as gym
import jax.numpy as jnp
import mujoco
import numpy as np

from forethought.core import Box, Problem, UsageError
from forethought.dynamics.mujoco.messages import no_warnings
from forethought.dynamics.mujoco.mujoco_dynamics import MujocoDynamics, RewardFunction
from forethought.dynamics.mujoco.simulator import Simulator, load_model
from forethought.dynamics.space import StateSpace
from forethought.envs.codecs import ActionCodec
from forethought.envs.coordinate_names import state_names
from forethought.envs.env import Env
from forethought.envs.functions import load_function
from forethought.envs.gym_attributes import time_limit
from forethought.envs.gym_env import GymEnv
from forethought.envs.make import make_gym
from forethought.envs.mujoco.model_renderer import ModelRenderer
from forethought.envs.mujoco.replay import Replay, StateObservation, name_of, require_mujoco
from forethought.envs.shipped import NAMESPACE, shipped
from forethought.envs.system_env import SystemEnv
from forethought.tasks.function_task import (
    CostFunction,
    FunctionTask,
    TerminationFunction,
    first_line,
    require_cost,
    require_termination,
)
from forethought.tasks.simulated_task import SimulatedTask

Source: TypeAlias = str | os.PathLike | gym.Env | mujoco.MjModel | SystemEnv


def known_model(
    source: Source,
    *,
    cost: str | CostFunction | None = None,
    termination: str | TerminationFunction | None = None,
    horizon: int | None = None,
    frame_skip: int | None = None,
    dt: float | None = None,
    threads: int | None = None,
    make_kwargs: Mapping[str, Any] | None = None,
) -> Problem:
    """The exact model of a system with known equations or a known simulator, as a `Problem` for planners.

    States are [qpos; qvel; act] for MuJoCo, followed by [r; done] if the environment's reward or termination is used.

    Args:
        source: a Gymnasium MuJoCo environment (id or object), an MJCF file or string, an `mujoco.MjModel`, or one of
            the shipped systems ("forethought/CartPoleSwingUp-v0", or a `SystemEnv`).
        cost: `cost(x [k], u [m]) -> []` of [qpos; qvel; act], traceable by JAX, or "module:function".  If None, the
            environment's own reward is used, which is slower: a second instance of the environment, with its wrappers,
            steps through the simulated states in Python.
        termination: `termination(x [k]) -> bool []` likewise; if None, the environment's own (a model has none).
        horizon: steps in an episode; the environment's own if None, else 1000.
        frame_skip: steps of the simulator per action, for a model; 1 if None.
        dt: s per action, in place of `frame_skip`; for an environment it must be its own.
        threads: threads of the simulator; one per available core if None.
        make_kwargs: passed on to the environment's constructor.

    MuJoCo's contact solver starts from its last solution, which is not part of the state.  So a simulation that starts
    from a state of a running episode with contacts can differ from the episode in the last digits (`Ant-v5` and
    `Hopper-v5`: 1e-16 after one step, 1e-10 after 50).

    Raises:
        UsageError: no such source; no cost for a bare model; actuators without limits; an environment whose step does
            more than simulate; or an environment whose reward or termination depends on more than state, action and
            next state, such as the time or the previous action.
    """
    if isinstance(source, SystemEnv) or (isinstance(source, str) and source.startswith(NAMESPACE)):
        system = shipped(source) if isinstance(source, str) else source
        _require_dt(dt, system.task.dt, system.name)
        return system.problem
    functions = load_function(cost, "cost"), load_function(termination, "termination")
    if isinstance(source, mujoco.MjModel) or _is_mjcf(source):
        model = source if isinstance(source, mujoco.MjModel) else load_model(str(source))
        if functions[0] is None:
            raise UsageError("A MuJoCo model has no reward of its own: pass cost=..., a function of x and u.")
        low, high = _ctrl_limits(model)
        simulator = Simulator(model, frame_skip=frame_skip or _frames(model, dt), threads=threads)
        _require_dt(dt, simulator.dt, model_name(source))
        return _problem(simulator, None, functions, horizon or 1000, low, high, partial(_home, model))
    env = source if isinstance(source, gym.Env) else make_gym(str(source), **dict(make_kwargs or {}))
    inner, name = require_mujoco(env), name_of(env)
    action = ActionCodec(inner.action_space, name)
    simulator = Simulator(inner.model, frame_skip=inner.frame_skip, threads=threads)
    _require_dt(dt, simulator.dt, name)
    simulated, reward = None in functions, None
    if simulated:
        _require_same_actions(env)
        rewards, ends = (function is None for function in functions)
        reward = Replay(_spare(env, name), simulator, rewards=rewards, ends=ends)
    steps = horizon or time_limit(env) or 1000
    reset = StateObservation(_spare(env, name), rewarded=simulated)
    return _problem(
        simulator, reward, functions, steps, action.low, action.high, lambda seed: reset.reset(seed=seed)[0]
    )


def known_system(source: Source, **options: Any) -> tuple[Env, Problem]:
    """The real environment, with states as observations, and its exact problem; `options` as in `known_model`.

    A controller of the problem, such as `MPC(planner, problem)`, can act in the environment.  Returns are sums of the
    environment's rewards.  An MJCF file or `mujoco.MjModel` is simulated from its first keyframe; its returns are
    negative sums of `cost`.

    Raises:
        UsageError: as `known_model`.
    """
    if isinstance(source, mujoco.MjModel) or _is_mjcf(source):
        return _model_env(source, known_model(source, **options))
    if isinstance(source, SystemEnv) or (isinstance(source, str) and source.startswith(NAMESPACE)):
        system = shipped(source) if isinstance(source, str) else source
        return system, known_model(system, **options)
    env = source if isinstance(source, gym.Env) else make_gym(str(source), **dict(options.get("make_kwargs") or {}))
    _require_same_actions(env)
    problem = known_model(env, **{k: v for k, v in options.items() if k != "make_kwargs"})
    rewarded = options.get("cost") is None or options.get("termination") is None
    name, spec = name_of(env), env.spec
    make = None if spec is None else lambda **kwargs: StateObservation(_made_again(spec, **kwargs), rewarded)
    seen = StateObservation(env, rewarded)
    names = state_names(require_mujoco(env).model, rewarded=rewarded)
    return GymEnv(seen, name=name, names=names, horizon=problem.task.horizon, make=make), problem


def _problem(
    simulator: Simulator,
    reward: RewardFunction | None,
    functions: tuple[CostFunction | None, TerminationFunction | None],
    horizon: int,
    low: np.ndarray,
    high: np.ndarray,
    reset: Callable[[int], np.ndarray],
) -> Problem:
    cost, termination = functions
    if cost is not None:
        require_cost(cost, simulator.size, low.size)
    if termination is not None:
        require_termination(termination, simulator.size)
    base = FunctionTask(horizon, simulator.dt, Box(jnp.asarray(low), jnp.asarray(high)), cost, termination)
    dynamics = MujocoDynamics(simulator, reward)
    return Problem(dynamics, SimulatedTask(base, simulator.size, reward is not None, reset))


def _model_env(source: Any, problem: Problem) -> tuple[SystemEnv, Problem]:
    """A bare model as an environment."""
    dynamics = problem.dynamics
    assert isinstance(dynamics, MujocoDynamics)
    model = dynamics.simulator.model
    space = StateSpace(dynamics.size, names=state_names(model, rewarded=False))
    return SystemEnv(model_name(source), problem, space, ModelRenderer(dynamics.simulator)), problem


def model_name(source: Any) -> str:
    """The name of a model: its file name without extension, else "model"."""
    if isinstance(source, mujoco.MjModel) or str(source).lstrip().startswith("<"):
        return "model"
    return Path(source).stem


def _frames(model: mujoco.MjModel, dt: float | None) -> int:
    """Steps of the simulator in `dt` s."""
    return 1 if dt is None else max(1, round(dt / model.opt.timestep))


def _require_dt(dt: float | None, actual: float, name: str) -> None:
    if dt is not None and not math.isclose(dt, actual, rel_tol=1e-6):
        remedy = f"pass dt={actual:g}, or none"
        raise UsageError(f"{name} has steps of {actual:g} s, which {dt:g} s do not fit: {remedy}.")


def _require_same_actions(env: gym.Env) -> None:
    if require_mujoco(env).action_space != env.action_space:
        remedy = "give it without that wrapper"
        raise UsageError(f"A wrapper changes the actions of {env}, which the model cannot reproduce: {remedy}.")


def _is_mjcf(source: Any) -> bool:
    if isinstance(source, os.PathLike):
        return True
    return isinstance(source, str) and (source.lstrip().startswith("<") or source.endswith((".xml", ".mjb")))


def _ctrl_limits(model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    free = [model.actuator(i).name or str(i) for i in range(model.nu) if not model.actuator_ctrllimited[i]]
    if not model.nu or free:
        what = f"actuators without limits ({', '.join(free)})" if free else "no actuators"
        raise UsageError(f"The MuJoCo model has {what}: a planner needs actions with a ctrlrange.")
    low, high = model.actuator_ctrlrange.T
    dtype = jnp.result_type(float)
    return low.astype(dtype), high.astype(dtype)


def _home(model: mujoco.MjModel, seed: int) -> np.ndarray:
    """The first keyframe of a model, else its default state."""
    del seed
    data = mujoco.MjData(model)
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    return np.concatenate([data.qpos, data.qvel, data.act])


def _spare(env: gym.Env, name: str) -> gym.Env:
    """Another instance, wrappers included, for replays and initial states."""
    remedy = "register it and give its id, or pass cost=... and termination=..."
    if env.spec is None:
        raise UsageError(f"{name} was given as an object without a spec, so its reward cannot be replayed: {remedy}.")
    try:
        return _made_again(env.spec, disable_env_checker=True, render_mode=None)
    except Exception as error:  # wrappers that do not record their arguments, or failures in third-party code
        what = f"{name} cannot be made again with its wrappers ({first_line(error)})"
        raise UsageError(f"{what}, so its reward cannot be replayed: {remedy}.") from error


def _made_again(spec: Any, **kwargs: Any) -> gym.Env:
    with no_warnings():
        return gym.make(spec, **kwargs)
