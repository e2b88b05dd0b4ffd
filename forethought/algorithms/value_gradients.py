"""Value gradients: critics and policy improved on a few model steps, from states of long model rollouts.

Two horizons: rollouts of 20 steps without gradient fill a buffer with the states that the policy comes to; from such
states rollouts of 3 steps, with gradients, give the targets of the critics and the gradient of the policy
(learners/model_gradient.py).  The buffer holds the rollouts of the last 200 updates.  With these low-variance gradients
one update for each real step is enough, where MBPO makes 20.  It is an instance of MBPO with other settings and
`gradient_steps`.

Operations for HalfCheetah (17 + 6 numbers in, 18 out), in GFLOP: an update on 256 rows 1.7 (the model and its gradient
0.65, the policy 0.45, the critics 0.6); a minibatch of 8 members 2.6; 256 rollouts of 20 steps, every 20 updates, 3.
50,000 updates and 40 fits of at most 600 minibatches are 155,000 GFLOP: 37 minutes at the 70 GFLOP/s of one core.
Source: Kubo et al. (2025), Double horizon model-based policy optimization (DHMBPO); settings of the authors' code.
Differs: three critics in place of five, two hidden layers of the policy in place of three; the model has no layer
normalization or dropout, minibatches of 256 instead of 2048 rows, and fits of fewer epochs; termination is learned, not
given; critics are scaled by the first rewards and not bounded; updates follow each block of real steps, not each
episode, and the optimizers keep their memory; the differences of MBPO (algorithms/mbpo.py).
"""

from jaxtyping import PRNGKeyArray

from forethought.algorithms.branched_rollouts import BranchedRollouts
from forethought.algorithms.mbpo import MBPO, MBPOState
from forethought.algorithms.protocol import Info
from forethought.core import Controller, Problem, Regression
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.learners.sac import SACLearner
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble


@settings
class ValueGradients:
    """Settings of value gradients through a model; defaults of Kubo et al. (2025) unless another source is named."""

    learner: SACLearner = SACLearner(
        activation="silu",
        discount=0.995,
        initial_temperature=0.1,
        critics=3,
        combine="mean",
        subset=2,
        normalize=True,
        scale_values=True,
    )
    model: Regression = Ensemble(
        members=8, hidden=(256, 256, 256, 256), batch=256, patience=5, holdout=0.2, max_updates=600
    )
    classifier: Classifier = Classifier()
    rollouts: BranchedRollouts = BranchedRollouts(
        first_length=20, last_length=20, per_step=12.8, every=20, batch=256, capacity=51_200
    )
    gradient_steps: int = 3  # model steps that gradients go through
    real_ratio: float = 0.0  # share of real rows in a batch
    updates_per_step: float = 1.0  # updates for each real step
    retrain_every: int = 1000  # real steps between fits of the model within a round
    random_steps: int = 10_000  # first steps, whose actions are random
    catch_up: bool = True  # when they are over, make the updates for them too
    block: int = 10  # real steps between blocks of updates
    capacity: int = 1_000_000  # newest real steps that are learned from
    round_steps: int = 1000  # fewest real steps of a round, collected in whole episodes

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        _ = self.mbpo

    @property
    def mbpo(self) -> MBPO:
        """MBPO with these settings."""
        return MBPO(
            learner=self.learner,
            model=self.model,
            classifier=self.classifier,
            rollouts=self.rollouts,
            real_ratio=self.real_ratio,
            updates_per_step=self.updates_per_step,
            retrain_every=self.retrain_every,
            random_steps=self.random_steps,
            catch_up=self.catch_up,
            gradient_steps=self.gradient_steps,
            block=self.block,
            capacity=self.capacity,
            round_steps=self.round_steps,
        )

    def check_budget(self, env_steps: int) -> None:
        """See `MBPO`."""
        self.mbpo.check_budget(env_steps)

    def init(self, env: Env, *, key: PRNGKeyArray) -> MBPOState:
        """See `MBPO`."""
        return self.mbpo.init(env, key=key)

    def iterate(self, state: MBPOState, env: Env, *, key: PRNGKeyArray) -> tuple[MBPOState, Info]:
        """See `MBPO`."""
        return self.mbpo.iterate(state, env, key=key)

    def problem(self, state: MBPOState, env: Env) -> Problem:
        """See `MBPO`."""
        return self.mbpo.problem(state, env)

    def controller(self, state: MBPOState, env: Env) -> Controller:
        """See `MBPO`."""
        return self.mbpo.controller(state, env)
