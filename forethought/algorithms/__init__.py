"""Learning algorithms, one readable file each, and what several of them share."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.algorithms.backprop import Backprop
    from forethought.algorithms.distill import DistillDynamics, DistillPolicy
    from forethought.algorithms.dyna_q import DynaQ
    from forethought.algorithms.dyna_q_plus import DynaQPlus
    from forethought.algorithms.experience import Experience
    from forethought.algorithms.fit_once import FitOnce
    from forethought.algorithms.gps import GPS
    from forethought.algorithms.iterative import Iterative
    from forethought.algorithms.known_mpc import KnownMPC
    from forethought.algorithms.local_models import LocalModels
    from forethought.algorithms.mb_mf import MBMF
    from forethought.algorithms.mbpo import MBPO
    from forethought.algorithms.model_learning import Learned, ModelLearning
    from forethought.algorithms.mpc import LearnedMPC
    from forethought.algorithms.pets import PETS
    from forethought.algorithms.pilco import PILCO
    from forethought.algorithms.policy_gradient import PolicyGradient
    from forethought.algorithms.ppo import PPO
    from forethought.algorithms.prioritized_sweeping import PrioritizedSweeping
    from forethought.algorithms.protocol import Algorithm, Info
    from forethought.algorithms.sac import SAC
    from forethought.algorithms.value_gradients import ValueGradients

__all__ = [
    "Algorithm",
    "Backprop",
    "DistillDynamics",
    "DistillPolicy",
    "DynaQ",
    "DynaQPlus",
    "Experience",
    "FitOnce",
    "GPS",
    "Info",
    "Iterative",
    "Learned",
    "KnownMPC",
    "LearnedMPC",
    "LocalModels",
    "MBMF",
    "MBPO",
    "ModelLearning",
    "PETS",
    "PILCO",
    "PPO",
    "PolicyGradient",
    "PrioritizedSweeping",
    "SAC",
    "ValueGradients",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
