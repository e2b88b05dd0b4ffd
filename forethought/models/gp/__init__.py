"""Gaussian-process regression: evidence, hyperparameters, exact and sparse conditioning, predictions and samples."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.models.gp.conditioning import condition
    from forethought.models.gp.posterior import FittedGP, SampledGP
    from forethought.models.gp.process import GP, GPReport

__all__ = ["GP", "FittedGP", "GPReport", "SampledGP", "condition"]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
