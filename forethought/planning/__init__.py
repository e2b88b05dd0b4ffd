"""Planners over a `Problem`, known or learned; model-predictive control, LQR, and rollouts."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.planning.backup import WithBackup
    from forethought.planning.batch import solve_batch
    from forethought.planning.cem import CEM
    from forethought.planning.dare import solve_dare, solve_infinite_lqr
    from forethought.planning.dual_ascent import bracket_multiplier, dual_gradient_ascent
    from forethought.planning.gradient_shooting import GradientShooting
    from forethought.planning.guided import GuidedMPC, guided_by
    from forethought.planning.icem import ICEM
    from forethought.planning.ilqr import ILQR
    from forethought.planning.lqr import LQRSolution, solve_lqr
    from forethought.planning.mpc import MPC, TimedMPC
    from forethought.planning.mppi import MPPI
    from forethought.planning.particles import expected_cost, open_loop_plan
    from forethought.planning.random_shooting import RandomShooting
    from forethought.planning.trust_region import TrustRegionStep, constrained_step, trajectory_kl
    from forethought.planning.whole_plan import Following, WholePlan

__all__ = [
    "CEM",
    "ICEM",
    "ILQR",
    "MPC",
    "MPPI",
    "Following",
    "GuidedMPC",
    "GradientShooting",
    "LQRSolution",
    "RandomShooting",
    "TimedMPC",
    "TrustRegionStep",
    "WholePlan",
    "WithBackup",
    "bracket_multiplier",
    "constrained_step",
    "dual_gradient_ascent",
    "expected_cost",
    "guided_by",
    "open_loop_plan",
    "solve_batch",
    "solve_dare",
    "solve_infinite_lqr",
    "solve_lqr",
    "trajectory_kl",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
