"""Reports of runs: diagnostics, plots, one self-contained HTML page, a video."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.report.controller_picture import plot_controller
    from forethought.report.gp_picture import plot_gp
    from forethought.report.html import compare, write_report
    from forethought.report.mixture_picture import plot_gmm
    from forethought.report.predicted_trajectory import plot_prediction
    from forethought.report.recording import record_video

__all__ = ["compare", "plot_controller", "plot_gmm", "plot_gp", "plot_prediction", "record_video", "write_report"]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
