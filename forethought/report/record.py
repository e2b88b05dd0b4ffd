"""`run.json` and `metrics.jsonl` as text for tables and labels."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from forethought.report.curves import Curve


def algorithm_name(info: Mapping[str, Any]) -> str:
    """The algorithm's class, "PETS"."""
    return str(info["algorithm"]["class"]).rpartition(".")[2]


def flat_settings(plain: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The recorded settings as (dotted name, value), in the order of their classes."""
    if isinstance(plain, Mapping) and "class" in plain:
        if name:
            yield name, str(plain["class"]).rpartition(".")[2]
        for field, value in plain["settings"].items():
            yield from flat_settings(value, f"{name}.{field}".lstrip("."))
    elif isinstance(plain, Mapping):  # a number that JSON has no name for, or a function
        yield name, ", ".join(str(value) for value in plain.values())
    elif isinstance(plain, Sequence) and any(isinstance(part, Mapping) and "class" in part for part in plain):
        for i, part in enumerate(plain):
            yield from flat_settings(part, f"{name}[{i}]")
    elif isinstance(plain, Sequence) and not isinstance(plain, str):
        yield name, ", ".join(value for part in plain for _, value in flat_settings(part))
    else:
        yield name, str(plain)


def flat(plain: Mapping[str, Any] | None, name: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted name, value)."""
    rows: list[tuple[str, str]] = []
    for key, value in (plain or {}).items():
        inner = f"{name}.{key}".lstrip(".")
        rows += flat(value, inner) if isinstance(value, Mapping) else [(inner, "-" if value is None else str(value))]
    return rows


def curve_of(run: Any, label: str) -> Curve:
    """The run's learning curve; its step length follows from the metrics, so that no environment need be opened."""
    last = run.metrics[-1]
    dt = last["experience_s"] / last["env_steps"] if last["env_steps"] else 1.0
    return Curve.of_metrics(run.metrics, label=label, dt=round(dt, 9))


def labels_of(algorithms: Sequence[Mapping[str, Any]]) -> list[str]:
    """The recorded algorithms by name, with those settings that differ between algorithms of one name."""
    settings = [dict(flat_settings(algorithm)) for algorithm in algorithms]
    names = [algorithm_name({"algorithm": algorithm}) for algorithm in algorithms]
    labels = []
    for kind, mine in zip(names, settings, strict=True):
        same_kind = [other for other, name in zip(settings, names, strict=True) if name == kind]
        known = dict.fromkeys(name for other in same_kind for name in other)
        differing = [name for name in known if len({other.get(name) for other in same_kind}) > 1]
        parts = [f"{name}={mine[name]}" for name in differing if name in mine]
        labels.append(" ".join([kind, *parts[:3]]) + (" ..." if len(parts) > 3 else ""))
    return labels


def duration(seconds: float) -> str:
    """A duration with a fitting unit."""
    if seconds < 90:
        return f"{seconds:.3g} s"
    if seconds < 5400:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"


def number(value: float | None, digits: int = 4) -> str:
    """A number with few digits; a dash if there is none."""
    if value is None or not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
