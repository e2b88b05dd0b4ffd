"""The options of an environment as flags: read from `Environment`, the same for every command that takes them."""

import argparse
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, get_args, get_origin

from forethought.cli.flags import Parser, escape, type_arguments
from forethought.cli.settings_reader import Field, read_settings

HOME = "forethought.envs.environment:Environment"
NOT_FLAGS = ("id", "make_kwargs")
EARLIER = {"velocities": "--speeds"}  # earlier names, still accepted
METAVARS = {
    "angles": "I",
    "observation_noise": "STD",
    "risk": "P",
    "constraint_steps": "STEPS",
    "horizon": "STEPS",
    "dt": "SECONDS",
    "names": "NAME",
    "action_delay": "STEPS",
    "observation_delay": "STEPS",
    "action_rate": "RATE",
}


def add_environment(
    parser: Parser,
    *,
    only: Sequence[str] | None = None,
    about: str = "Gymnasium id, such as HalfCheetah-v5 or module:Name-v0",
) -> None:
    """The argument ENV and its options.

    Args:
        parser: of a command.
        only: the options that the command takes; None for all.
        about: help text of ENV.
    """
    parser.add_argument("env", metavar="ENV", help=about)
    group = parser.add_argument_group("options of the environment")
    for field in _fields(only):
        flags = ["--" + field.name.replace("_", "-"), *([EARLIER[field.name]] if field.name in EARLIER else [])]
        group.add_argument(*flags, dest=field.name, help=escape(field.help), **_arguments(field))


def given_options(values: argparse.Namespace) -> dict[str, Any]:
    """The given options, as arguments of `Environment`."""
    given = {field: getattr(values, field.name, None) for field in _fields(None)}
    return {field.name: _value(field, value) for field, value in given.items() if value is not None}


def _value(field: Field, value: Any) -> Any:
    """Lists converted to tuples; a single value is returned as a number if the option allows it."""
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 and len(_kinds(field)) > 1 else tuple(value)


def _fields(only: Sequence[str] | None) -> list[Field]:
    fields = read_settings(HOME, skip=NOT_FLAGS).fields
    return [field for field in fields if only is None or field.name in only]


def _arguments(field: Field) -> dict[str, Any]:
    """The `add_argument` keywords for an option of this type; None means not given."""
    kinds = _kinds(field)
    if any(get_origin(kind) is Callable for kind in kinds):
        return {"metavar": "MODULE:FUNCTION"}
    lists = [kind for kind in kinds if get_origin(kind) is tuple]
    if not lists:
        return type_arguments(kinds[0]) | _metavar(field)
    item = get_args(lists[0])[0]
    if get_origin(item) is tuple:
        return {"type": _pair, "metavar": "I:J", "nargs": "+"}
    return {"type": item, "nargs": "+"} | _metavar(field)


def _kinds(field: Field) -> list[Any]:
    """The allowed types of a value, except None."""
    return [kind for kind in get_args(field.type) if kind is not NoneType]


def _metavar(field: Field) -> dict[str, str]:
    return {"metavar": METAVARS[field.name]} if field.name in METAVARS else {}


def _pair(text: str) -> tuple[int, int]:
    first, colon, second = text.partition(":")
    if not (colon and first.isdecimal() and second.isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form POSITION:VELOCITY, such as 0:2")
    return int(first), int(second)
