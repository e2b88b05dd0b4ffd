"""Policies that are updated from batches of experience: policy gradients, soft actor-critic, imitation."""

from typing import TYPE_CHECKING

from forethought.core.lazy import lazy_exports

if TYPE_CHECKING:
    from forethought.learners.behavior_cloning import BehaviorCloning
    from forethought.learners.off_policy import OffPolicyLearner
    from forethought.learners.policy_gradient import PolicyGradientLearner
    from forethought.learners.ppo import PPOLearner
    from forethought.learners.sac import SACLearner
    from forethought.learners.soft_labels import SoftLabels

__all__ = ["BehaviorCloning", "OffPolicyLearner", "PPOLearner", "PolicyGradientLearner", "SACLearner", "SoftLabels"]

__getattr__, __dir__ = lazy_exports(__name__, __file__)
