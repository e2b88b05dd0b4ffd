"""`settings`: a frozen dataclass that checks its values and documents its fields.

The comment after a field gives its meaning and unit; `--help`, `help(CEM)` and notebooks all show this comment.
"""

import dataclasses
import inspect
import io
import numbers
import textwrap
import tokenize
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, TypeVar, Union, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def settings(cls: type[T]) -> type[T]:
    """Make `cls` settings: a frozen dataclass of fields `name: type = default  # meaning, unit`.

    A value of a wrong type raises a `ValueError` that names the setting.  Values are converted so that settings are
    hashable and compare equal: lists to tuples, NumPy numbers to Python numbers, integers to floats in float fields.
    """
    refuse: Callable[[Any], None] | None = cls.__dict__.get("__post_init__")

    def check(self: Any) -> None:
        for name, hint in _hints(typing.cast(Any, cls)).items():
            value = getattr(self, name)
            converted = convert(value, hint, f"{cls.__name__}.{name}")
            if converted is not value:
                object.__setattr__(self, name, converted)
        if refuse is not None:
            refuse(self)

    cls.__post_init__ = check  # type: ignore[attr-defined]
    made: type[T] = dataclasses.dataclass(frozen=True)(cls)
    made.__doc__ = _Documentation(cls.__doc__ or "")  # type: ignore[assignment]
    return made


def convert(value: Any, hint: Any, name: str) -> Any:
    """`value` converted to the type of an annotation.

    Raises:
        ValueError: `value` has another type; the message begins with `name`.
    """
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_to_one(value, parts, name)
    if origin is Literal:
        if value not in parts:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, parts))}, not {value!r}.")
        return value
    if origin is tuple:
        return _convert_tuple(value, parts, name)
    if hint in _PLAIN:
        accepts, make, expected = _PLAIN[hint]
        if isinstance(value, bool) is not (hint is bool) or not accepts(value):
            raise ValueError(f"{name} must be {expected}, not {value!r}.")
        return make(value)
    if isinstance(hint, type) and (isinstance(value, type) or not isinstance(value, hint)):
        got = f"the class itself: write {value.__name__}()" if isinstance(value, type) else repr(value)
        raise ValueError(f"{name} must be settings of kind {hint.__name__}, not {got}.")
    return value


def _convert_to_one(value: Any, hints: tuple[Any, ...], name: str) -> Any:
    """`value` converted to the first of several types that accepts it."""
    refusals = []
    for hint in hints:
        if hint is type(None):
            if value is None:
                return None
            continue
        try:
            return convert(value, hint, name)
        except ValueError as refusal:
            refusals.append(str(refusal))
    raise ValueError(refusals[0].replace(", not ", " or None, not ", 1) if type(None) in hints else refusals[0])


def _convert_tuple(value: Any, parts: tuple[Any, ...], name: str) -> tuple:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be a tuple, not {value!r}.")
    hints = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
    if len(hints) != len(value):
        raise ValueError(f"{name} must have {len(hints)} values, not {len(value)}.")
    return tuple(convert(one, hint, f"{name}[{i}]") for i, (one, hint) in enumerate(zip(value, hints, strict=True)))


_PLAIN: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    int: (lambda v: isinstance(v, numbers.Integral), int, "a whole number"),
    float: (lambda v: isinstance(v, numbers.Real), float, "a number"),
    bool: (lambda v: isinstance(v, bool), bool, "True or False"),
    str: (lambda v: isinstance(v, str), str, "a text"),
}


@cache
def _hints(cls: Any) -> dict[str, Any]:
    """The types of the fields."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


class _Documentation:
    """A class's `__doc__`, assembled from its source on first access."""

    def __init__(self, written: str):
        self.written = written

    def __get__(self, instance: Any, owner: type) -> str:
        comments = {name: f"  # {comment}" for name, comment in field_comments(owner).items()}
        fields = dataclasses.fields(owner)
        lines = [f"    {field.name} = {_shown(field.default)}{comments.get(field.name, '')}" for field in fields]
        return "\n".join([inspect.cleandoc(self.written), "", "Settings:", *lines])


def field_comments(cls: type) -> Mapping[str, str]:
    """The comment after each field of a class, from its source; empty if the source cannot be read."""
    try:
        source = textwrap.dedent(inspect.getsource(cls))
    except (OSError, TypeError):
        return {}
    comments: dict[str, str] = {}
    names = {field.name for field in dataclasses.fields(cls)}
    current = None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.start[1] == 4 and token.string in names:
            current = token.string
        elif token.type == tokenize.COMMENT and current is not None and token.start[1] > 4:
            comments.setdefault(current, token.string.lstrip("# "))
        elif token.type == tokenize.NEWLINE:
            current = None
    return comments


def _shown(default: Any) -> str:
    """A default as it is written in the source; nested settings are shown by their class name only."""
    return f"{type(default).__name__}(...)" if dataclasses.is_dataclass(default) else repr(default)
