"""`make_gym`: `gymnasium.make` with one-line error messages."""

import warnings
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from forethought.core import UsageError, nearest
from forethought.dynamics.mujoco.messages import no_warnings
from forethought.envs.arcade.minatar_games import IDS
from forethought.envs.functions import import_module, importable_from_here
from forethought.envs.grids.mazes import MAZES
from forethought.envs.shipped import NAMESPACE, SHIPPED
from forethought.tasks.function_task import first_line


def make_gym(spec: str, **kwargs: Any) -> gym.Env:
    """`gymnasium.make(spec, **kwargs)`; an error becomes one line that says how to fix it.

    Raises:
        UsageError: an unknown or outdated id, a module that cannot be imported, a missing dependency, arguments that
            the environment does not accept, or a constructor that fails.
    """
    module, _, name = spec.rpartition(":")
    with importable_from_here():
        if module:
            import_module(module, f"environment '{spec}'")
        try:
            with warnings.catch_warnings(record=True) as said:  # warnings are dropped if the call fails anyway
                warnings.simplefilter("always")
                env = _make(name, kwargs)
        except gym.error.UnregisteredEnv as error:
            raise UsageError(f"There is no environment '{spec}'; {_suggest(name, module)}") from error
        except (gym.error.Error, ImportError) as error:
            raise UsageError(f"The environment '{spec}' cannot be made: {first_line(error)}") from error
        except Exception as error:  # third-party code may raise any exception
            what = f"its constructor raised {type(error).__name__}: {first_line(error)}"
            raise UsageError(f"The environment '{spec}' cannot be made: {what}") from error
    for warning in said:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return env


def _make(name: str, kwargs: dict[str, Any]) -> gym.Env:
    """`gymnasium.make` without its checker (`check_env` does more) and without MuJoCo's messages about the model."""
    entry = getattr(gym.registry.get(name), "entry_point", None)
    if isinstance(entry, str):
        load_env_creator(entry)  # imports MuJoCo if the environment needs it, so that its messages can be suppressed
    with no_warnings():
        return gym.make(name, disable_env_checker=True, **kwargs)


def _suggest(name: str, module: str) -> str:
    """A suggestion of the known id nearest to `name`; ids registered by `module` are shown as "module:id"."""
    called = {id: f"{module}:{id}" if module and _home(spec) == module else id for id, spec in gym.registry.items()}
    latest = {s.name: s.id for s in sorted(gym.registry.values(), key=lambda s: s.version or 0)}
    base = name.rsplit("-v", 1)[0]
    if base in latest:
        return f"did you mean '{called[latest[base]]}'?"
    hint = nearest(name, [*called, *(NAMESPACE + short for short in (*SHIPPED, *MAZES)), *IDS])
    if hint.startswith("did you mean"):
        found = hint.split("'")[1]
        return hint.replace(found, called.get(found, found))
    if module:
        own = [id for id, spec in gym.registry.items() if _home(spec) == module]
        return f"module '{module}' registers {', '.join(sorted(own)) or 'no environment'}."
    return f"give module:{name} if a module registers it; gymnasium.pprint_registry() lists the registered ids."


def _home(spec: Any) -> str:
    """The module of an environment's class."""
    entry = spec.entry_point
    return entry.partition(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
