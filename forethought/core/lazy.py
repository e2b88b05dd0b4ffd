"""Lazy imports: a package's exported names are imported when they are first used (PEP 562).

Help, lists and usage errors then take a fraction of a second, because they do not load JAX.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from forethought.core.errors import nearest


def lazy_exports(package: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for the package whose `__init__.py` is `file`.

    The exports are that file's `from home import name` lines under `if TYPE_CHECKING:`, which type checkers and
    people read too, so that no second list has to be kept consistent.
    """
    homes = _guarded_imports(Path(file).read_text(encoding="utf-8"))

    def getattr_(name: str) -> object:
        if name not in homes:
            hint = "" if name.startswith("_") else f"; {nearest(name, homes)}"
            raise AttributeError(f"module '{package}' has no attribute '{name}'{hint}")
        value = getattr(importlib.import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)  # later look-ups do not call this function
        return value

    def dir_() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return getattr_, dir_


def _guarded_imports(source: str) -> dict[str, str]:
    guarded = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    imports = [line for node in guarded for line in node.body if isinstance(line, ast.ImportFrom)]
    return {alias.name: line.module for line in imports if line.module for alias in line.names if alias.name != "*"}
