"""What a run learned, for people: diagnostics, plots, one self-contained page, a video."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.report.gp_picture import plot_gp
    from forethought.report.html import write_report
    from forethought.report.predicted_trajectory import plot_imagined
    from forethought.report.recording import film

__all__ = ["film", "plot_gp", "plot_imagined", "write_report"]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
