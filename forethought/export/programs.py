"""The two functions of a deployable controller as StableHLO programs, serialized by `jax.export`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.export

from forethought.core import UsageError
from forethought.export.deployable import Deployable


def stablehlo_programs(controller: Deployable, platforms: Sequence[str] = ("cpu",)) -> dict[str, bytes]:
    """The programs "start" and "step".

    Args:
        controller: its parameters become constants of the programs.
        platforms: processors on which the programs can run: "cpu", "cuda", "rocm", "tpu".
    Raises:
        UsageError: the controller calls code of this process, such as a simulator, or a platform is not known.
    """
    known = ("cpu", "cuda", "rocm", "tpu")
    wrong = [name for name in platforms if name not in known]
    if wrong or not platforms:
        raise UsageError(f"platforms are some of {', '.join(known)}; got {', '.join(platforms) or 'none'}.")
    x, t, key, memory = controller.specs()

    def start(x, key):
        return controller.start(x, key)

    def step(x, t, key, memory):
        return controller.step(x, t, key, memory)

    return {
        "start": _serialized(start, (x, key), platforms),
        "step": _serialized(step, (x, t, key, memory), platforms),
    }


def _serialized(function: Any, specs: tuple[Any, ...], platforms: Sequence[str]) -> bytes:
    try:
        return bytes(jax.export.export(jax.jit(function), platforms=tuple(platforms))(*specs).serialize())
    except (ValueError, NotImplementedError) as problem:
        first = (str(problem).strip().splitlines() or [""])[0]
        if "callback" in str(problem):
            remedy = "train with a learned model, or distill the controller to a policy"
            raise UsageError(f"This controller calls a simulator of this process ({first}): {remedy}.") from problem
        raise
