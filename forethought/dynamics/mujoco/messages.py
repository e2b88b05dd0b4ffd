"""MuJoCo's warnings, which by default are printed and written to a file MUJOCO_LOG.TXT in the current folder."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Ignores MuJoCo's warnings: a simulation that diverges ends in NaN, which the caller detects and reports."""
    with _handled(lambda _: None):
        yield


@contextlib.contextmanager
def python_warnings() -> Iterator[None]:
    """Turns MuJoCo's warnings into Python warnings, each once, at the end of the block, unless the block raises."""
    messages: dict[str, None] = {}
    with _handled(lambda message: messages.setdefault(message.partition("Time =")[0].strip())):
        yield
    for message in messages:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=4)


@contextlib.contextmanager
def _handled(handler: Callable[[str], Any]) -> Iterator[None]:
    mujoco = sys.modules.get("mujoco")  # without it there are no warnings
    if mujoco is None:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(handler)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
