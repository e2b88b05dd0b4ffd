"""Learning algorithms, one readable file each, and what several of them share."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.algorithms.backprop import Backprop, GradientSearch, PolicyKind
    from forethought.algorithms.branched_rollouts import BranchedRollouts
    from forethought.algorithms.distill import DistillDynamics, DistillPolicy
    from forethought.algorithms.distill_games import DistillGames
    from forethought.algorithms.dyna_q import DynaQ
    from forethought.algorithms.dyna_q_plus import DynaQPlus
    from forethought.algorithms.experience import Experience
    from forethought.algorithms.fit_once import FitOnce
    from forethought.algorithms.gps import GPS, Imitation
    from forethought.algorithms.iterative import Iterative
    from forethought.algorithms.known_mpc import KnownMPC
    from forethought.algorithms.local_improvement import TrustRegion
    from forethought.algorithms.local_models import LocalModels
    from forethought.algorithms.local_priors import MixturePrior, ModelPrior, NoPrior, Prior
    from forethought.algorithms.local_rollouts import Conditions
    from forethought.algorithms.mb_mf import MBMF
    from forethought.algorithms.mbpo import MBPO
    from forethought.algorithms.model_learning import Learned, ModelLearning
    from forethought.algorithms.mpc import LearnedMPC
    from forethought.algorithms.on_policy import Rollouts
    from forethought.algorithms.pets import PETS
    from forethought.algorithms.pilco import PILCO
    from forethought.algorithms.pilco_settings import (
        HorizonSettings,
        ObjectiveSettings,
        PolicySettings,
        SearchSettings,
        TrialSettings,
    )
    from forethought.algorithms.policy_gradient import PolicyGradient
    from forethought.algorithms.ppo import PPO
    from forethought.algorithms.ppo_images import PPOImages
    from forethought.algorithms.prioritized_sweeping import PrioritizedSweeping
    from forethought.algorithms.protocol import Algorithm, Info, StartsFromPolicy
    from forethought.algorithms.sac import SAC
    from forethought.algorithms.value_gradients import ValueGradients

__all__ = [
    "GPS",
    "MBMF",
    "MBPO",
    "PETS",
    "PILCO",
    "PPO",
    "SAC",
    "Algorithm",
    "Backprop",
    "BranchedRollouts",
    "Conditions",
    "DistillDynamics",
    "DistillGames",
    "DistillPolicy",
    "DynaQ",
    "DynaQPlus",
    "Experience",
    "FitOnce",
    "GradientSearch",
    "HorizonSettings",
    "Imitation",
    "Info",
    "Iterative",
    "KnownMPC",
    "Learned",
    "LearnedMPC",
    "LocalModels",
    "MixturePrior",
    "ModelLearning",
    "ModelPrior",
    "NoPrior",
    "ObjectiveSettings",
    "PolicyGradient",
    "PolicyKind",
    "PolicySettings",
    "PPOImages",
    "Prior",
    "PrioritizedSweeping",
    "Rollouts",
    "SearchSettings",
    "StartsFromPolicy",
    "TrialSettings",
    "TrustRegion",
    "ValueGradients",
]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
