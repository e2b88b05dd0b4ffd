"""Registration of the shipped systems with Gymnasium: `gymnasium.make("forethought/Name-v0")` in any library.

Gymnasium 1.x does not discover plugins: a package must register its environments when it is imported.  Importing
Gymnasium for this would triple the time of `import forethought`.  The shipped systems are therefore registered at once
if Gymnasium is already imported, else right after it is imported.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from forethought.envs.grids.mazes import EPISODE_STEPS, MAZES
from forethought.envs.shipped import NAMESPACE, SHIPPED

REGISTRY = "gymnasium.envs.registration"


def register_envs() -> None:
    """Register every shipped system and maze that is not registered yet."""
    from gymnasium.envs.registration import register, registry

    for name, parts in SHIPPED.items():
        if NAMESPACE + name not in registry:
            entry_point = "forethought.envs.exported:GymnasiumSystem"
            register(NAMESPACE + name, entry_point, max_episode_steps=parts.horizon, kwargs={"name": name})
    for name in MAZES:
        if NAMESPACE + name not in registry:
            entry_point = "forethought.envs.grids.maze_env:MazeEnv"
            register(NAMESPACE + name, entry_point, max_episode_steps=EPISODE_STEPS, kwargs={"name": name})


def register_when_gymnasium_is_imported() -> None:
    """Register the shipped systems now, or right after the first import of Gymnasium's registry."""
    if REGISTRY in sys.modules:
        register_envs()
    elif not any(isinstance(finder, _Waiting) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


class _Waiting(MetaPathFinder):
    """An import hook: imports the registry as usual, then registers the shipped systems and removes itself."""

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The module's usual specification, with registration added; None for any other module."""
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        run = spec.loader.exec_module

        def run_and_register(module: ModuleType) -> None:
            run(module)
            register_envs()

        spec.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return spec
