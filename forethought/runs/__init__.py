"""Training, run directories, checkpoints and exact resume; loading and evaluating runs; planning without learning."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.runs.driver import train
    from forethought.runs.run import Evaluation, Run, load
    from forethought.runs.share import export_minari
    from forethought.runs.signals import Interrupted

__all__ = [
    "Evaluation",
    "Interrupted",
    "Run",
    "export_minari",
    "load",
    "train",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
