"""A user's functions by name: "module:function" loaded, and the name of a function that was given."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

from forethought.core import UsageError, nearest
from forethought.tasks.function_task import first_line


def load_function(spec: str | Callable | None, kind: str) -> Callable | None:
    """The function that "module:function" names; functions and None as they are.

    Raises:
        UsageError: no such module or function; the nearest name in the module is told.
    """
    if spec is None or callable(spec):
        return spec
    module_name, _, name = spec.rpartition(":")
    if not module_name or not name:
        raise UsageError(f"{kind} '{spec}' is not of the form module:function, as in my_env:{kind}.")
    with importable_from_here():
        module = import_module(module_name, f"{kind} '{spec}'")
    function = getattr(module, name, None)
    if function is None:
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"Module '{module_name}' has no function '{name}' for {kind}; {nearest(name, functions)}")
    if not callable(function):
        raise UsageError(f"{kind} '{spec}' is a {type(function).__name__}, not a function.")
    return function


def name_of(function: str | Callable | None) -> str | None:
    """The "module:function" that names a function; strings and None as they are."""
    if function is None or isinstance(function, str):
        return function
    return f"{function.__module__}:{function.__qualname__}"


@contextlib.contextmanager
def importable_from_here() -> Iterator[None]:
    """Within it, modules in the working directory can be imported, as `python` itself would; last, so that nothing
    there hides an installed package.
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
    """The module, imported; whatever goes wrong is a `UsageError` that says who wanted it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(error.name + ".")):
            remedy = "is it misspelled, or is the working directory another one?"
            raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}") from error
        remedy = f"module '{module}' needs it: install it"
        raise UsageError(f"No module named '{error.name}' for {wanted_by}; {remedy}.") from error
    except Exception as error:  # the module is foreign code
        what = f"raised {type(error).__name__} when imported: {first_line(error)}"
        raise UsageError(f"Module '{module}', for {wanted_by}, {what}") from error
