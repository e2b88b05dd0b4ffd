"""Forethought: model-based reinforcement learning.

Learn a model of a system from a few trials, and plan with that model.  Exported names are imported on first use.
"""

from typing import TYPE_CHECKING

from forethought._version import __version__
from forethought.core.lazy import lazy_exports
from forethought.envs.registration import register_when_gymnasium_is_imported

if TYPE_CHECKING:
    from forethought.algorithms.backprop import Backprop
    from forethought.algorithms.distill import DistillDynamics, DistillPolicy
    from forethought.algorithms.dyna_q import DynaQ
    from forethought.algorithms.dyna_q_plus import DynaQPlus
    from forethought.algorithms.fit_once import FitOnce
    from forethought.algorithms.gps import GPS
    from forethought.algorithms.iterative import Iterative
    from forethought.algorithms.known_mpc import KnownMPC
    from forethought.algorithms.local_models import LocalModels
    from forethought.algorithms.mb_mf import MBMF
    from forethought.algorithms.mbpo import MBPO
    from forethought.algorithms.mpc import LearnedMPC
    from forethought.algorithms.pets import PETS
    from forethought.algorithms.pilco import PILCO
    from forethought.algorithms.policy_gradient import PolicyGradient
    from forethought.algorithms.ppo import PPO
    from forethought.algorithms.prioritized_sweeping import PrioritizedSweeping
    from forethought.algorithms.sac import SAC
    from forethought.algorithms.value_gradients import ValueGradients
    from forethought.core.errors import ForethoughtError, UsageError
    from forethought.core.protocols import Problem
    from forethought.envs.checks.check_env import check_env
    from forethought.envs.environment import Environment
    from forethought.envs.mujoco.known_model import known_model, known_system
    from forethought.envs.open import open_env
    from forethought.models.ensemble import Ensemble
    from forethought.models.gmm import GMM
    from forethought.models.gp.process import GP
    from forethought.planning.batch import solve_batch
    from forethought.planning.cem import CEM
    from forethought.planning.gradient_shooting import GradientShooting
    from forethought.planning.icem import ICEM
    from forethought.planning.ilqr import ILQR
    from forethought.planning.mpc import MPC, TimedMPC
    from forethought.planning.mppi import MPPI
    from forethought.planning.random_shooting import RandomShooting
    from forethought.runs.distill import distill
    from forethought.runs.driver import train
    from forethought.runs.fit import fit
    from forethought.runs.run import Evaluation, Run, load

__all__ = [
    "CEM",
    "GMM",
    "GP",
    "GPS",
    "ICEM",
    "MBMF",
    "MBPO",
    "ILQR",
    "MPC",
    "MPPI",
    "PETS",
    "PILCO",
    "PPO",
    "SAC",
    "Backprop",
    "DistillDynamics",
    "DistillPolicy",
    "DynaQ",
    "DynaQPlus",
    "Ensemble",
    "Environment",
    "Evaluation",
    "FitOnce",
    "ForethoughtError",
    "GradientShooting",
    "Iterative",
    "KnownMPC",
    "LearnedMPC",
    "LocalModels",
    "PolicyGradient",
    "PrioritizedSweeping",
    "Problem",
    "RandomShooting",
    "Run",
    "TimedMPC",
    "UsageError",
    "ValueGradients",
    "__version__",
    "check_env",
    "distill",
    "fit",
    "known_model",
    "known_system",
    "load",
    "open_env",
    "solve_batch",
    "train",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)

register_when_gymnasium_is_imported()
