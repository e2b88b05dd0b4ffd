"""Models `p(y | z)` fitted to data: Gaussian processes, ensembles, mixtures, local fits; a classifier of ends."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.models.categorical import CategoricalEnsemble, CategoricalNetwork
    from forethought.models.classifier import Classifier, FittedClassifier
    from forethought.models.distilled import DistilledModel, DistilledNetwork
    from forethought.models.ensemble import Ensemble, FittedEnsemble
    from forethought.models.gmm import GMM
    from forethought.models.gp.posterior import FittedGP
    from forethought.models.gp.process import GP
    from forethought.models.linear_gaussian import LocalFit, NormalInverseWishart, fit_linear_gaussian, model_prior
    from forethought.models.mixture import FittedGMM, GaussianMixture
    from forethought.models.network import Network

__all__ = [
    "GMM",
    "GP",
    "CategoricalEnsemble",
    "CategoricalNetwork",
    "Classifier",
    "DistilledModel",
    "DistilledNetwork",
    "Ensemble",
    "FittedClassifier",
    "FittedEnsemble",
    "FittedGMM",
    "FittedGP",
    "GaussianMixture",
    "LocalFit",
    "Network",
    "NormalInverseWishart",
    "fit_linear_gaussian",
    "model_prior",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
