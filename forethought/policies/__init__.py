"""Controllers that do not plan: random actions, stochastic policies and networks, PILCO's squashed policies."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.policies.acting import Acting
    from forethought.policies.base_policy import BasePolicy, ControllerFunction, RandomPolicy
    from forethought.policies.distributions import ClippedGaussian, SquashedGaussian
    from forethought.policies.gradient_diagnostics import (
        error_by_rollouts,
        gradient_by_horizon,
        gradient_samples,
        jacobian_growth,
        relative_bias,
    )
    from forethought.policies.linear_gaussian import LinearGaussianController
    from forethought.policies.network import CategoricalPolicy, GaussianPolicy, SquashedGaussianPolicy
    from forethought.policies.observing import Observing, View
    from forethought.policies.squashed import SquashedPolicy
    from forethought.policies.uniform import Uniform, UniformPolicy

__all__ = [
    "Acting",
    "BasePolicy",
    "CategoricalPolicy",
    "ClippedGaussian",
    "ControllerFunction",
    "GaussianPolicy",
    "LinearGaussianController",
    "Observing",
    "RandomPolicy",
    "SquashedGaussian",
    "SquashedGaussianPolicy",
    "SquashedPolicy",
    "Uniform",
    "UniformPolicy",
    "View",
    "error_by_rollouts",
    "gradient_by_horizon",
    "gradient_samples",
    "jacobian_growth",
    "relative_bias",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
