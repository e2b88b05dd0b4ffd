"""The outside world: Gymnasium environments in, our own systems out, episodes collected, environments checked."""

import importlib

_EXPORTS = {
    "CheckReport": "check",
    "Env": "env",
    "Finding": "check",
    "GymEnv": "gym_env",
    "check_env": "check",
    "collect": "env",
    "collect_vector": "vector",
    "open_env": "open",
}
__all__ = list(_EXPORTS)  # noqa: PLE0604


def __getattr__(name: str) -> object:
    """Load an export on first use: JAX and Gymnasium take a second to import, and `--help` needs neither."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
