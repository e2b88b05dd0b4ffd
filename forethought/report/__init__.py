"""What a run learned, for people: diagnostics, plots, one self-contained page, a video."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.report.gp_picture import plot_gp
    from forethought.report.html import write_report
    from forethought.report.video import film

__all__ = ["film", "plot_gp", "write_report"]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
