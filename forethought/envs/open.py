"""`open_env`: from what a person calls an environment to a system that episodes can be run on."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any

import gymnasium as gym

from forethought.core import UsageError, nearest
from forethought.envs.env import Env
from forethought.envs.gym_env import GymEnv
from forethought.envs.shipped import NAMESPACE, SHIPPED, shipped
from forethought.tasks.function_task import CostFunction, TerminationFunction, first_line


def open_env(
    spec: str | gym.Env | Env,
    *,
    cost: str | CostFunction | None = None,
    termination: str | TerminationFunction | None = None,
    angles: tuple[int, ...] | None = None,
    speeds: tuple[tuple[int, int], ...] | None = None,
    horizon: int | None = None,
    dt: float | None = None,
    make_kwargs: Mapping[str, Any] | None = None,
) -> Env:
    """The environment that `spec` names, or is.

    Args:
        spec: a Gymnasium id ("HalfCheetah-v5"; "module:Name-v0" imports the module first), a shipped system
            ("forethought/CartPoleSwingUp-v0"), a `gymnasium.Env`, or a system that is one already.
        cost: `cost(x [n], u [m]) -> []`, or "module:function"; None to learn it from rewards.
        termination: `termination(x [n]) -> bool []`, or "module:function"; None to learn it from episodes.
        angles: coordinates of the observation that are angles in radians.
        speeds: pairs (i, j): coordinate j is the rate of change of coordinate i, per second.
        horizon: steps in an episode, where not the environment's own time limit.
        dt: s per step, where not the environment's own.
        make_kwargs: passed on to the environment's constructor.

    Returns:
        A `SystemEnv` for shipped systems (dynamics, cost and termination known), a `GymEnv` for all others.

    Raises:
        UsageError: unknown names (the nearest known one is told), or an environment that no planner here can act in.
    """
    known = isinstance(spec, str) and spec.startswith(NAMESPACE)
    if known or not isinstance(spec, str | gym.Env):
        own = {"cost": cost, "termination": termination, "angles": angles or None, "speeds": speeds or None}
        _refuse({**own, "horizon": horizon, "dt": dt, "make_kwargs": make_kwargs or None}, spec)
        return shipped(str(spec)) if known else _system(spec)
    options: dict[str, Any] = {
        "cost": load_function(cost, "cost"),
        "termination": load_function(termination, "termination"),
        "angles": angles or (),
        "speeds": speeds or (),
        "horizon": horizon,
        "dt": dt,
    }
    if isinstance(spec, gym.Env):
        if make_kwargs:
            raise UsageError("make_kwargs are for environments given by id; this one is made already.")
        return GymEnv(spec, **options)
    kwargs = dict(make_kwargs or {})
    env = make_gym(spec, **kwargs)
    return GymEnv(env, name=spec, make=partial(gym.make, env.spec or spec), **options)


def make_gym(spec: str, **kwargs: Any) -> gym.Env:
    """`gymnasium.make(spec, **kwargs)`, its errors in one line with the remedy.

    Raises:
        UsageError: an unknown or outdated id, a module that cannot be imported, a missing dependency, arguments that
            the environment does not take, or a constructor that fails.
    """
    module, _, name = spec.rpartition(":")
    with importable_from_here():
        if module:
            _import(module, f"environment '{spec}'")
        try:
            with warnings.catch_warnings(record=True) as said:  # one line is enough where it fails anyway
                warnings.simplefilter("always")
                env = gym.make(name, disable_env_checker=True, **kwargs)  # `check_env` does that, and more
        except gym.error.UnregisteredEnv as error:
            raise UsageError(f"There is no environment '{spec}'; {_suggest(name, module)}") from error
        except (gym.error.Error, ImportError) as error:
            raise UsageError(f"The environment '{spec}' cannot be made: {first_line(error)}") from error
        except Exception as error:  # the constructor is foreign code
            what = f"its constructor raised {type(error).__name__}: {first_line(error)}"
            raise UsageError(f"The environment '{spec}' cannot be made: {what}") from error
    for warning in said:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return env


def load_function(spec: str | Callable | None, kind: str) -> Callable | None:
    """The function that "module:function" names; functions and None as they are.

    Raises:
        UsageError: no such module or function; the nearest name in the module is told.
    """
    if spec is None or callable(spec):
        return spec
    module_name, _, name = spec.rpartition(":")
    if not module_name or not name:
        raise UsageError(f"{kind} '{spec}' is not of the form module:function, as in my_env:{kind}.")
    with importable_from_here():
        module = _import(module_name, f"{kind} '{spec}'")
    function = getattr(module, name, None)
    if function is None:
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"Module '{module_name}' has no function '{name}' for {kind}; {nearest(name, functions)}")
    if not callable(function):
        raise UsageError(f"{kind} '{spec}' is a {type(function).__name__}, not a function.")
    return function


@contextlib.contextmanager
def importable_from_here() -> Iterator[None]:
    """Within it, modules in the working directory can be imported, as `python` itself would; last, so that nothing
    there hides an installed package.
    """
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _import(module: str, wanted_by: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            remedy = "is it misspelled, or is the working directory another one?"
            raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}") from error
        remedy = f"module '{module}' needs it: install it"
        raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}.") from error
    except Exception as error:  # the module is foreign code
        what = f"raised {type(error).__name__} when imported: {first_line(error)}"
        raise UsageError(f"Module '{module}', for {wanted_by}, {what}") from error


def _suggest(name: str, module: str) -> str:
    prefix = f"{module}:" if module else ""
    latest = {s.name: s.version or 0 for s in sorted(gym.registry.values(), key=lambda s: s.version or 0)}
    base = name.rsplit("-v", 1)[0]
    if base in latest:
        return f"did you mean '{prefix}{base}-v{latest[base]}'?"
    hint = nearest(name, [*gym.registry, *(NAMESPACE + short for short in SHIPPED)])
    if hint.startswith("did you mean"):
        return hint.replace("'", f"'{prefix}", 1) if module else hint
    return f"give module:{name} if a module registers it; gymnasium.pprint_registry() shows what is known without one."


def _system(spec: object) -> Env:
    if not isinstance(spec, Env):
        raise UsageError(
            f"An environment is a Gymnasium id, a gymnasium.Env or a SystemEnv, not a {type(spec).__name__}."
        )
    return spec


def _refuse(options: dict[str, Any], spec: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        name = spec if isinstance(spec, str) else getattr(spec, "name", type(spec).__name__)
        remedy = "leave it out, or build a SystemEnv with a task of your own"
        raise UsageError(f"{name} has its own known {', '.join(given)}: {remedy}.")
