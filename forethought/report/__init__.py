"""What a run learned, for people: diagnostics, plots, one self-contained page, a video."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forethought.report.html import write_report
    from forethought.report.video import film

__all__ = ["film", "write_report"]

_HOMES = {"film": "forethought.report.video", "write_report": "forethought.report.html"}


def __getattr__(name: str) -> Any:
    """Load what is asked for only then: plots, pages and films need heavy libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
