"""Values, protocols, linear algebra, results and errors, used by all other packages."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.core.buffer import Buffer
    from forethought.core.categorical import Categorical
    from forethought.core.data import Trajectory, Transition
    from forethought.core.draws import HasDrawMany, draw_many, over_draws
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
        Choices,
        Conditional,
        Continuous,
        ContinuousConditional,
        Controller,
        Distribution,
        Dynamics,
        FitReport,
        HasCostMoments,
        HasInitialStates,
        HasLinearize,
        HasMode,
        HasMoments,
        HasSimulate,
        Learner,
        OnHost,
        Plan,
        Planner,
        Problem,
        Regression,
        Task,
        box_of,
    )
    from forethought.core.result import Result
    from forethought.core.spaces import Box, Discrete, Observations, Spaces, require_box
    from forethought.core.timing import HasStepCost, alive, step_cost, trajectory_costs

__all__ = [
    "Box",
    "Buffer",
    "Categorical",
    "CheckpointError",
    "Conditional",
    "Continuous",
    "ContinuousConditional",
    "Choices",
    "Controller",
    "Delta",
    "Discrete",
    "DiagonalGaussian",
    "Distribution",
    "Dynamics",
    "EnvironmentFailure",
    "FitReport",
    "ForethoughtError",
    "Gaussian",
    "HasCostMoments",
    "HasDrawMany",
    "HasInitialStates",
    "HasLinearize",
    "HasMode",
    "HasMoments",
    "HasSimulate",
    "HasStepCost",
    "Learner",
    "LinearGaussian",
    "NumericalFailure",
    "Observations",
    "OnHost",
    "Plan",
    "Planner",
    "Problem",
    "Quadratic",
    "Regression",
    "Result",
    "Spaces",
    "Task",
    "Trajectory",
    "Transition",
    "UsageError",
    "alive",
    "box_of",
    "condition",
    "draw_many",
    "expected_kl",
    "join",
    "kl",
    "nearest",
    "over_draws",
    "push_forward",
    "require_box",
    "step_cost",
    "trajectory_costs",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
