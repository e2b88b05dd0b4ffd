"""Forethought: learn how a system behaves from a few trials, and plan with what was learned.

Everything here is imported when it is first used, so that `import forethought` itself costs nothing.
"""

import importlib

_HOMES = {
    "CEM": "forethought.planning.cem",
    "Ensemble": "forethought.models.ensemble",
    "Evaluation": "forethought.runs.run",
    "ICEM": "forethought.planning.icem",
    "MPC": "forethought.planning.mpc",
    "PETS": "forethought.algorithms.pets",
    "RandomShooting": "forethought.planning.shooting",
    "Run": "forethought.runs.run",
    "load": "forethought.runs.run",
    "open_env": "forethought.envs",
    "train": "forethought.runs.driver",
}
_ROOMS = frozenset(
    "algorithms cli core dynamics envs models planning policies report runs tasks".split()  # `import` finds these
)


def __getattr__(name: str) -> object:
    """The export called `name`, imported now (PEP 562)."""
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    if name.startswith("__") or name in _ROOMS:  # what the import system itself asks for
        raise AttributeError(f"module 'forethought' has no attribute '{name}'")
    from forethought.core.errors import nearest

    raise AttributeError(f"module 'forethought' has no attribute '{name}'; {nearest(name, _HOMES)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
