"""Conversion of settings to JSON and back, without executing code from a file.

A settings value is a dataclass of plain values, tuples and further settings.  It is written as
`{"class": "forethought.algorithms.pets.PETS", "settings": {"horizon": 25, ...}}`; only settings classes inside
`forethought` are rebuilt from a file, by calling them with the recorded values.
"""

import dataclasses
import hashlib
import importlib
import inspect
import json
from typing import Any

from forethought.core.errors import CheckpointError, UsageError

_FLOATS = {"nan": float("nan"), "inf": float("inf"), "-inf": float("-inf")}


def to_plain(value: Any, name: str = "settings") -> Any:
    """`value` as JSON types.

    Args:
        value: settings, or a part of them.
        name: its name in error messages.
    Raises:
        UsageError: it contains a value that cannot be recorded, and hence cannot be compared on resume.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        parts = {f.name: to_plain(getattr(value, f.name), f"{name}.{f.name}") for f in dataclasses.fields(value)}
        return {"class": f"{kind.__module__}.{kind.__qualname__}", "settings": parts}
    if isinstance(value, float) and str(value) in _FLOATS:
        return {"float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [to_plain(part, f"{name}[{i}]") for i, part in enumerate(value)]
    if inspect.isfunction(value) and "<" not in value.__qualname__:
        return {"function": f"{value.__module__}:{value.__qualname__}"}
    raise UsageError(
        f"{name} is a {type(value).__name__}, which a run cannot record; settings hold numbers, strings, tuples, "
        "module-level functions and other settings."
    )


def from_plain(plain: Any) -> Any:
    """The settings that `to_plain` wrote.

    Raises:
        CheckpointError: the record names a class or function outside of Forethought, or has unknown fields.
    """
    if isinstance(plain, list):
        return tuple(from_plain(part) for part in plain)
    if not isinstance(plain, dict):
        return plain
    if "float" in plain:
        return _FLOATS[plain["float"]]
    if "class" not in plain:
        raise CheckpointError(
            f"the run's settings name {plain.get('function', 'something unknown')}, which is not rebuilt from a file; "
            "pass the algorithm: ft.load(path, algorithm=...)."
        )
    kind = _settings_class(plain["class"])
    parts = {name: from_plain(part) for name, part in plain["settings"].items()}
    unknown = sorted(parts.keys() - {f.name for f in dataclasses.fields(kind)})
    if unknown:
        raise CheckpointError(f"the run's settings have {unknown}, unknown to this version's {plain['class']}.")
    try:
        return kind(**parts)
    except (ValueError, TypeError) as problem:
        raise CheckpointError(f"the run's settings of {plain['class']} are refused: {problem}") from problem


def fingerprint(plain: Any) -> str:
    """A digest of plain settings, the same for equal settings."""
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def first_difference(old: Any, new: Any, name: str = "") -> str | None:
    """The first difference of two plain values, as `name is OLD there and NEW here`; None if they are equal."""
    if isinstance(old, dict) and isinstance(new, dict):
        same_kind = old.get("class") == new.get("class")
        names = [*old, *(key for key in new if key not in old)] if same_kind else ["class"]
        for key in names:
            # omit the file's "settings" levels: users know `planner.horizon`, not `settings.planner.settings...`
            inner = name if key in ("settings", "class") else f"{name}.{key}".lstrip(".")
            found = first_difference(old.get(key), new.get(key), inner)
            if found:
                return found
        return None
    if old == new and type(old) is type(new):
        return None
    return f"{name} is {json.dumps(old)} there and {json.dumps(new)} here"


def _settings_class(path: str) -> type:
    """The frozen dataclass called `path`, inside `forethought` only."""
    refusal = CheckpointError(
        f"the run's settings are of class {path}, which is not part of Forethought and is not rebuilt from a file; "
        "pass the algorithm: ft.load(path, algorithm=...)."
    )
    module, _, name = path.rpartition(".")
    if not module.startswith("forethought.") or not all(part.isidentifier() for part in path.split(".")):
        raise refusal
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except ImportError as problem:
        raise refusal from problem
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise refusal
    if not vars(kind)["__dataclass_params__"].frozen or f"{kind.__module__}.{kind.__qualname__}" != path:
        raise refusal
    return kind
