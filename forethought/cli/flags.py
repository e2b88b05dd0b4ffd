"""An argument parser with one-line errors, and flags for settings."""

import argparse
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from forethought.cli.renamed import RENAMED
from forethought.cli.settings_reader import Field, Settings, read_settings
from forethought.core.errors import UsageError, nearest
from forethought.registry import CHOICES


class Parser(argparse.ArgumentParser):
    """Raises `UsageError` instead of exiting; the message about an unknown flag suggests the nearest known one."""

    def __init__(self, prog: str, about: str, epilog: str | None = None, usage: str | None = None):
        super().__init__(prog, usage, about, epilog, formatter_class=_Formatter, allow_abbrev=False, add_help=False)
        self.add_argument("-h", "--help", action="help", help="show this help and exit")
        self.add_argument("--debug", action="store_true", help="show the traceback of an error")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The parsed arguments; flags may be written with `_` or `-`."""
        values, unknown = self.parse_known_args([_dashed(word) for word in argv])
        if unknown:
            flag = unknown[0].partition("=")[0]
            renamed, known = RENAMED.get(flag), self._option_string_actions
            if renamed in known:
                self.error(f"'{flag}' is now called '{renamed}'")
            hint = f"; {nearest(flag, known)}" if flag.startswith("-") else ""
            self.error(f"unexpected argument '{flag}'{hint}")
        return values

    def error(self, message: str) -> NoReturn:
        """Raise `UsageError` for wrong usage."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=36)


def choose_areas(settings: Settings, argv: Sequence[str], prefix: str = "") -> Settings:
    """The settings with the classes selected by `--planner NAME` and `--model NAME`.

    Raises:
        UsageError: a name that the field does not accept.
    """
    for field in settings.fields:
        if not isinstance(field.default, Settings):
            continue
        area, known, path = field.default, choices(field), prefix + field.name
        choice = _value_of("--" + path.replace("_", "-"), argv) if known else None
        if choice is not None:
            if choice not in known:
                others = [name for names in CHOICES.values() for name in names]
                remedy = nearest(choice, known) if choice not in others else f"it takes: {', '.join(known)}"
                raise UsageError(f"--{path} cannot be '{choice}'; {remedy}")
            if known[choice] != area.home:  # selecting the class of the default keeps the default's values
                area = read_settings(known[choice])
        settings = settings.with_area(field.name, choose_areas(area, argv, path + "."))
    return settings


def choices(field: Field) -> dict[str, str]:
    """The names that an area accepts according to its annotation, and the locations of their classes."""
    named = {name: home for names in CHOICES.values() for name, home in names.items()}
    allowed: dict[str, str] = {}
    for annotation in field.type:
        allowed |= CHOICES.get(annotation, {name: home for name, home in named.items() if home == annotation})
    return allowed


def add_settings(
    parser: argparse.ArgumentParser, settings: Settings, prefix: str = "", *, title: str = "settings of the algorithm"
) -> None:
    """Add a flag for every setting, with one group per area; values are stored under the dotted path."""
    title = f"settings of {prefix.rstrip('.')}" if prefix else title
    group = parser.add_argument_group(title, settings.about)
    for field in settings.fields:
        if not isinstance(field.default, Settings):
            _add_flag(group, prefix + field.name, field)
        elif choices(field):
            _add_choice(group, prefix + field.name, choices(field), field.default)
    for field in settings.fields:
        if isinstance(field.default, Settings):
            add_settings(parser, field.default, f"{prefix}{field.name}.")


def given_settings(settings: Settings, values: argparse.Namespace, prefix: str = "") -> dict[str, Any]:
    """The given settings, by dotted path."""
    given: dict[str, Any] = {}
    for field in settings.fields:
        path = prefix + field.name
        if isinstance(field.default, Settings):
            given |= given_settings(field.default, values, path + ".")
        elif hasattr(values, path):
            given[path] = tuple(v) if isinstance(v := getattr(values, path), list) else v
    return given


def _add_choice(group: Any, path: str, known: Mapping[str, str], default: Settings) -> None:
    current = next((name for name, home in known.items() if home == default.home), default.home)
    help_ = f"class of the {path.rpartition('.')[2]}; its own flags follow (default: {current})"
    flag = "--" + path.replace("_", "-")
    group.add_argument(flag, choices=list(known), default=argparse.SUPPRESS, help=escape(help_))


def _add_flag(group: Any, path: str, field: Field) -> None:
    shown = " ".join(map(_shown, field.default)) if isinstance(field.default, tuple) else _shown(field.default)
    help_ = f"{field.help} (default: {shown})" if field.help else f"default: {shown}"
    flag = "--" + path.replace("_", "-")
    group.add_argument(flag, dest=path, default=argparse.SUPPRESS, help=escape(help_), **type_arguments(field.type))


def type_arguments(type_: Any) -> dict[str, Any]:
    """The `add_argument` keywords that read a value of a type."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin in (Union, UnionType):
        (inner,) = (part for part in parts if part is not NoneType)
        how = type_arguments(inner)
        how |= {"type": _or_none(how["type"]), "metavar": f"{how['metavar']}|none"}
        return how | ({"choices": (*how["choices"], None)} if "choices" in how else {})
    if origin is tuple:
        return type_arguments(parts[0]) | {"nargs": "+" if parts[-1] is Ellipsis else len(parts)}
    if origin is Literal:
        return {"type": type(parts[0]), "choices": parts, "metavar": "{" + ",".join(map(str, parts)) + "}"}
    if type_ is bool:
        return {"type": _boolean, "metavar": "{true,false}"}
    return {"type": type_, "metavar": type_.__name__.upper()}


def _boolean(word: str) -> bool:
    if word.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got '{word}'")
    return word.lower() == "true"


def _or_none(read: Any) -> Any:
    def read_or_none(word: str) -> Any:
        return None if word.lower() == "none" else read(word)

    read_or_none.__name__ = getattr(read, "__name__", "value")  # argparse names it in its messages
    return read_or_none


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else f"{value}"


def escape(text: str) -> str:
    """Escape a help text, so that argparse shows it unchanged."""
    return text.replace("%", "%%")


def _dashed(word: str) -> str:
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    return flag.replace("_", "-") + equals + value


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    """The last value given to a flag, found before the full parser exists."""
    values = [after for word, after in zip(argv, [*argv, ""][1:], strict=True) if word == flag]
    values += [word.partition("=")[2] for word in argv if word.startswith(flag + "=")]
    return values[-1] if values else None
