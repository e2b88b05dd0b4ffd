"""Models `p(y | z)` fitted to data: Gaussian processes, ensembles of networks, and a classifier of terminal states."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.models.classifier import Classifier, FittedClassifier
    from forethought.models.ensemble import Ensemble, FittedEnsemble
    from forethought.models.gp.posterior import FittedGP
    from forethought.models.gp.process import GP
    from forethought.models.linear_gaussian import LocalFit, NormalInverseWishart, fit_linear_gaussian, model_prior
    from forethought.models.network import Network

__all__ = [
    "GP",
    "Classifier",
    "Ensemble",
    "FittedClassifier",
    "FittedEnsemble",
    "FittedGP",
    "LocalFit",
    "Network",
    "NormalInverseWishart",
    "fit_linear_gaussian",
    "model_prior",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
