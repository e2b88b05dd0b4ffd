"""Export of a run's controller: files that run without Forethought, with a parity test and measured latency."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.export.exporting import Export, export_run
    from forethought.export.parity import ParityError

__all__ = [
    "Export",
    "ParityError",
    "export_run",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
