"""Values, protocols, linear algebra, results and errors: what every other room stands on."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.core.data import Buffer, Trajectory, Transition
    from forethought.core.draws import HasDrawMany, draw_many
    from forethought.core.errors import (
        CheckpointError,
        EnvironmentFailure,
        ForethoughtError,
        NumericalFailure,
        UsageError,
        nearest,
    )
    from forethought.core.gaussian import (
        Delta,
        DiagonalGaussian,
        Gaussian,
        LinearGaussian,
        Quadratic,
        condition,
        expected_kl,
        join,
        kl,
        push_forward,
    )
    from forethought.core.protocols import (
        Conditional,
        Controller,
        Distribution,
        Dynamics,
        HasCostMoments,
        HasLinearize,
        HasMoments,
        HasSimulate,
        OnHost,
        Plan,
        Planner,
        Problem,
        Regression,
        Task,
    )
    from forethought.core.result import Result

__all__ = [
    "Buffer",
    "CheckpointError",
    "Conditional",
    "Controller",
    "Delta",
    "DiagonalGaussian",
    "Distribution",
    "Dynamics",
    "EnvironmentFailure",
    "ForethoughtError",
    "Gaussian",
    "HasCostMoments",
    "HasDrawMany",
    "HasLinearize",
    "HasMoments",
    "HasSimulate",
    "LinearGaussian",
    "NumericalFailure",
    "OnHost",
    "Plan",
    "Planner",
    "Problem",
    "Quadratic",
    "Regression",
    "Result",
    "Task",
    "Trajectory",
    "Transition",
    "UsageError",
    "condition",
    "draw_many",
    "expected_kl",
    "join",
    "kl",
    "nearest",
    "push_forward",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
