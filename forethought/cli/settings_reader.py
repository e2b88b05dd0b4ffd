"""Reads settings from their source code, so that help shows names, defaults and units without importing JAX.

A settings class is a frozen dataclass whose fields have the form `name: type = default  # meaning, unit`; a default
that constructs another settings class makes the field an area of its own (`planner: Planner = CEM(horizon=25)`).
"""

import ast
import builtins
import io
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from forethought.core.errors import UsageError

ROOT = Path(__file__).parents[2]  # the folder that holds the package
_BUILTINS = ("int", "float", "bool", "str", "tuple")
_TYPES = {"Literal": Literal, "Callable": Callable, "Any": Any, **{name: getattr(builtins, name) for name in _BUILTINS}}


@dataclass(frozen=True)
class Field:
    """One field of a settings class.

    If `default` is itself `Settings`, the field is an area, and `type` lists the locations of its classes.
    """

    name: str
    type: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Settings:
    """A settings class as read from its source: `home` is "module:Class", `about` is the first line of its file.

    If a file contains several settings classes, `about` is the first line of the class.
    """

    home: str
    about: str
    fields: tuple[Field, ...]

    def construct(self, given: Mapping[str, Any]) -> Any:
        """Import the class and construct the settings object.

        Args:
            given: values that replace defaults, by dotted path ("planner.horizon").
        Raises:
            UsageError: the class rejects a value.
        """
        module, _, name = self.home.partition(":")
        cls = getattr(import_module(module), name)
        values = {}
        for field in self.fields:
            if isinstance(field.default, Settings):
                inside = {
                    path[len(field.name) + 1 :]: v for path, v in given.items() if path.startswith(field.name + ".")
                }
                values[field.name] = field.default.construct(inside)
            else:
                values[field.name] = given.get(field.name, field.default)
        try:
            return cls(**values)
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error

    def with_area(self, name: str, area: "Settings") -> "Settings":
        """These settings with another class for the area `name`."""
        fields = (replace(field, default=area) if field.name == name else field for field in self.fields)
        return replace(self, fields=tuple(fields))


@cache
def read_settings(home: str, skip: tuple[str, ...] = ()) -> Settings:
    """Read the settings class at `home` ("module:Class") from its source.

    Args:
        home: location of the class.
        skip: names of fields to omit.
    Raises:
        ValueError: a field does not have the form described above.
    """
    module, _, name = home.partition(":")
    return _read_class(module, name, skip)


@dataclass(frozen=True)
class _Source:
    tree: ast.Module
    comments: Mapping[int, str]  # comments by line number


@cache
def _parse(module: str) -> _Source:
    base = ROOT.joinpath(*module.split("."))
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    text = path.read_text(encoding="utf-8")
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return _Source(ast.parse(text), comments)


def _find(module: str, name: str) -> tuple[str, ast.ClassDef | ast.Assign]:
    """The definition of `name` in `module`, followed through imports: its module, and the class or assignment."""
    for node in ast.walk(_parse(module).tree):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return module, node
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return module, node
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("forethought"):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(str(node.module), alias.name)
    raise ValueError(f"{module} neither defines nor imports '{name}'")


def _read_class(module: str, name: str, skip: tuple[str, ...] = ()) -> Settings:
    module, node = _find(module, name)
    if not isinstance(node, ast.ClassDef):
        raise ValueError(f"{module}:{name} is not a class")
    named = [line for line in node.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)]
    lines = [line for line in named if isinstance(line.target, ast.Name) and line.target.id not in skip]
    tree = _parse(module).tree
    settings = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.decorator_list]
    about = (ast.get_docstring(node if len(settings) > 1 else tree) or "").partition("\n")[0]
    home = f"{module}:{node.name}"
    return Settings(home, about, tuple(_read_field(module, line, home) for line in lines))


def _read_field(module: str, line: ast.AnnAssign, home: str) -> Field:
    assert isinstance(line.target, ast.Name)
    name = line.target.id
    comments, last = _parse(module).comments, line.end_lineno or line.lineno
    help_ = next((comments[n] for n in range(last, line.lineno - 1, -1) if n in comments), "")
    if line.value is None:
        raise ValueError(f"{home}.{name} has no default.")
    try:
        default = _read_value(module, line.value)
        read_type = _read_homes if isinstance(default, Settings) else _read_type
        type_ = read_type(module, line.annotation)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{home}.{name} is not of the form `name: type = literal  # meaning`: {error}") from error
    return Field(name, type_, default, help_)


def _read_type(module: str, annotation: ast.expr) -> Any:
    """The type of an annotation; names are builtin types, `Literal`, or aliases of these."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)} - set(_TYPES)
    aliases = {name: _read_alias(module, name) for name in names}
    code = compile(ast.Expression(annotation), "<annotation>", "eval")
    return eval(code, {"__builtins__": {}, **_TYPES, **aliases})


def _read_homes(module: str, annotation: ast.expr) -> tuple[str, ...]:
    """The locations of the classes in an annotation, without builtin types such as `object`."""
    names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name) and not hasattr(builtins, node.id)]
    found = [_find(module, name) for name in names]
    return tuple(f"{home}:{node.name}" for home, node in found if isinstance(node, ast.ClassDef))


def _read_alias(module: str, name: str) -> Any:
    home, node = _find(module, name)
    if not isinstance(node, ast.Assign):
        raise ValueError(f"'{name}' is neither a plain type nor an alias of one")
    return _read_type(home, node.value)


def _read_value(module: str, node: ast.expr) -> Any:
    """A literal, or the settings made by a constructor call."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return ast.literal_eval(node)
    settings = _read_class(module, node.func.id)
    names = [field.name for field in settings.fields]
    values = dict(zip(names, node.args, strict=False)) | {str(word.arg): word.value for word in node.keywords}
    changed = {name: _read_value(module, value) for name, value in values.items()}
    fields = (replace(field, default=changed.get(field.name, field.default)) for field in settings.fields)
    return replace(settings, fields=tuple(fields))
