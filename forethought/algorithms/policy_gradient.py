"""Policy gradient: REINFORCE with a learned baseline.  Model-free; continuous or discrete actions, vectors or images.

Source: Sutton & Barto (2018), section 13.4.  The update, and what differs, is in learners/policy_gradient.py.
"""

from jaxtyping import PRNGKeyArray

from forethought.algorithms.on_policy import OnPolicyState, Rollouts, with_first_policy
from forethought.algorithms.protocol import Info
from forethought.core import Conditional, Controller, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.learners.policy_gradient import PolicyGradientLearner
from forethought.policies.acting import Acting


@settings
class PolicyGradient:
    """Settings of the policy gradient."""

    learner: PolicyGradientLearner = PolicyGradientLearner()
    rollouts: Rollouts = Rollouts(steps=4096)

    def init(self, env: Env, *, key: PRNGKeyArray) -> OnPolicyState:
        """An untrained policy."""
        return self.rollouts.init(self.learner, env, key=key)

    def iterate(self, state: OnPolicyState, env: Env, *, key: PRNGKeyArray) -> tuple[OnPolicyState, Info]:
        """Several policy gradient steps, each on new experience."""
        return self.rollouts.iterate(self.learner, state, env, key=key)

    def controller(self, state: OnPolicyState, env: Env) -> Controller:
        """The policy's mode."""
        del env
        return Acting(self.learner.policy(state.learner), mode=True)

    def policy_of(self, state: OnPolicyState) -> Conditional:
        """See `StartsFromPolicy`."""
        return self.learner.policy(state.learner)

    def with_policy(
        self, state: OnPolicyState, policy: Conditional, experience: Transition | None = None
    ) -> OnPolicyState:
        """See `StartsFromPolicy`; experience of other controllers is not learned from."""
        del experience
        return with_first_policy(state, policy)
