"""A user's functions by name: load "module:function", and find the name of a given function."""

import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from forethought.core import UsageError, nearest
from forethought.tasks.function_task import first_line


def load_function(spec: str | Callable | None, kind: str) -> Callable | None:
    """Load the function named "module:function"; a function or None is returned unchanged.

    Raises:
        UsageError: no such module or function; the message suggests the nearest name in the module.
    """
    if spec is None or callable(spec):
        return spec
    module_name, _, name = spec.rpartition(":")
    if not module_name or not name:
        raise UsageError(f"{kind} '{spec}' is not of the form module:function, as in my_env:{kind}.")
    module = sys.modules["__main__"] if module_name == "__main__" or is_script(module_name) else None
    if "<" in name or (module_name == "__main__" and not hasattr(module, name)):
        remedy = f"pass the function itself, as in ft.load(path, {kind}=...)"
        raise UsageError(
            f"{kind} '{spec}' was a function of a script or notebook and cannot be found by name: {remedy}."
        )
    if module is None or not hasattr(module, name):
        with importable_from_here():
            module = import_module(module_name, f"{kind} '{spec}'")
    function = getattr(module, name, None)
    if function is None:
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        hidden = _hidden_by(module)
        remedy = f"it is {module.__file__}; {hidden}: rename your file" if hidden else nearest(name, functions)
        raise UsageError(f"Module '{module_name}' has no function '{name}' for {kind}; {remedy}")
    if not callable(function):
        raise UsageError(f"{kind} '{spec}' is a {type(function).__name__}, not a function.")
    return function


def name_of(function: str | Callable | None) -> str | None:
    """The name "module:function" of a function; a string or None is returned unchanged.

    A function of the running script is named as if the script were imported as a module.
    """
    if function is None or isinstance(function, str):
        return function
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None) or type(function).__module__
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if module == "__main__" and script and getattr(sys.modules["__main__"], "__spec__", None) is None:
        module = Path(script).stem
    return f"{module}:{name}"


def can_be_loaded(function: str | Callable | None) -> bool:
    """Whether `load_function(name_of(function))` returns the function, in a process that can import its module."""
    if function is None or isinstance(function, str):
        return True
    module, _, name = (name_of(function) or "").partition(":")
    own = sys.modules.get(getattr(function, "__module__", None) or "")
    return module != "__main__" and getattr(own, name, None) is function


@contextlib.contextmanager
def importable_from_here() -> Iterator[None]:
    """Context in which modules in the working directory can be imported; they come last in the search path, so that
    they hide no installed package.
    """
    here = os.getcwd()
    if here in sys.path or "" in sys.path:
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def import_module(module: str, wanted_by: str) -> ModuleType:
    """Import a module; any failure becomes a `UsageError` that names `wanted_by`."""
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            remedy = "check its spelling and the working directory"
            raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}") from error
        remedy = f"module '{module}' needs it: install it"
        raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}.") from error
    except Exception as error:  # third-party code may raise any exception
        what = f"raised {type(error).__name__} when imported: {first_line(error)}"
        raise UsageError(f"Module '{module}', for {wanted_by}, {what}") from error
    hidden = _hidden_by(imported)
    if hidden:
        warnings.warn(f"{wanted_by}: module '{module}' is {imported.__file__}; {hidden}.", stacklevel=3)
    return imported


def _hidden_by(module: ModuleType) -> str:
    """A note about a file of the working directory that `module` hides because of its name; empty if there is none."""
    top = module.__name__.partition(".")[0]
    file = getattr(sys.modules[top], "__file__", None)
    for path in (Path(f"{top}.py"), Path(top, "__init__.py")):
        if path.is_file() and not (file and os.path.samefile(path, file)):
            return f"it hides {path} in the working directory"
    return ""


def is_script(module: str) -> bool:
    """Whether `module` is the running script."""
    main = sys.modules.get("__main__")
    script = getattr(main, "__file__", None)
    return script is not None and getattr(main, "__spec__", None) is None and Path(script).stem == module
