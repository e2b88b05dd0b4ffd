"""Neural networks and normalization: plain modules that models, policies and learners share."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.networks.convolution import Convolution
    from forethought.networks.gaussian_mlp import GaussianMLP, negative_log_likelihood, silu
    from forethought.networks.inputs import Inputs
    from forethought.networks.mlp import MLP
    from forethought.networks.normalizer import Normalizer, mean_and_std
    from forethought.networks.running_moments import RunningMoments

__all__ = [
    "Convolution",
    "GaussianMLP",
    "Inputs",
    "MLP",
    "Normalizer",
    "RunningMoments",
    "mean_and_std",
    "negative_log_likelihood",
    "silu",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
