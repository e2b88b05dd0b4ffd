"""PPO for images, with settings for games: policy and value share their convolutions.

Source: Schulman et al. (2017), table 5, and CleanRL's ppo_atari.py: 4 epochs, entropy weight 0.01, learning rate
2.5e-4; larger batches as in Lu et al. (2022), PureJaxRL, and Koyamada et al. (2023), Pgx, for MinAtar.
Differs: see learners/ppo.py; the learning rate is constant unless --learner.decay-steps is given.
"""

from jaxtyping import PRNGKeyArray

from forethought.algorithms.on_policy import OnPolicyState, Rollouts
from forethought.algorithms.ppo import PPO
from forethought.algorithms.protocol import Info
from forethought.core import Conditional, Controller, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.learners.ppo import PPOLearner


@settings
class PPOImages:
    """Settings of PPO for images."""

    learner: PPOLearner = PPOLearner(
        learning_rate=5e-4, epochs=4, minibatches=8, entropy_weight=0.01, shared_trunk=True
    )
    rollouts: Rollouts = Rollouts(steps=8192, round_steps=81_920, record=False)

    @property
    def ppo(self) -> PPO:
        """PPO, of which this is an instance."""
        return PPO(self.learner, self.rollouts)

    def init(self, env: Env, *, key: PRNGKeyArray) -> OnPolicyState:
        """An untrained policy."""
        return self.ppo.init(env, key=key)

    def iterate(self, state: OnPolicyState, env: Env, *, key: PRNGKeyArray) -> tuple[OnPolicyState, Info]:
        """See `PPO`."""
        return self.ppo.iterate(state, env, key=key)

    def controller(self, state: OnPolicyState, env: Env) -> Controller:
        """The policy's mode."""
        return self.ppo.controller(state, env)

    def policy_of(self, state: OnPolicyState) -> Conditional:
        """See `StartsFromPolicy`."""
        return self.ppo.policy_of(state)

    def with_policy(
        self, state: OnPolicyState, policy: Conditional, experience: Transition | None = None
    ) -> OnPolicyState:
        """See `StartsFromPolicy`; experience of other controllers is not learned from."""
        return self.ppo.with_policy(state, policy, experience)
