"""MuJoCo's warnings, which it prints and writes into a file MUJOCO_LOG.TXT in the current folder."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def no_warnings() -> Iterator[None]:
    """Drops warnings: a simulation that diverges ends in NaN, which is reported by those who use the states."""
    with _handled(lambda _: None):
        yield


@contextlib.contextmanager
def python_warnings() -> Iterator[None]:
    """Makes them Python warnings, each once, after the block; if the block raises, its exception says enough."""
    messages: dict[str, None] = {}
    with _handled(lambda message: messages.setdefault(message.partition("Time =")[0].strip())):
        yield
    for message in messages:
        warnings.warn(f"MuJoCo: {message}", RuntimeWarning, stacklevel=4)


@contextlib.contextmanager
def _handled(handler: Callable[[str], Any]) -> Iterator[None]:
    mujoco = sys.modules.get("mujoco")  # where it is not loaded, nothing can warn
    if mujoco is None:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(handler)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
