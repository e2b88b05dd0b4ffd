"""PETS: probabilistic ensembles with trajectory sampling.

An ensemble of probabilistic networks learns the dynamics from all experience so far; CEM plans with it inside MPC,
each candidate sequence of actions scored by its average cost over particles, each of which follows one member.
Source: Chua et al. (2018), algorithm 1.
Differs: a round may be several short episodes; the first acts at random; the model is fitted after a round when the
data have grown enough, with early stopping instead of five epochs; a reward or termination that the task does not know
is learned; the final cost may be weighted.
"""

from collections.abc import Sequence

from jaxtyping import PRNGKeyArray

from forethought.algorithms.experience import Experience, require_at_least
from forethought.algorithms.mpc import LearnedMPC
from forethought.algorithms.protocol import Info
from forethought.core import Controller, Planner, Problem, Regression, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.policies.base_policy import RandomPolicy


@settings
class PETS:
    """Settings of PETS."""

    model: Regression = Ensemble()
    planner: Planner = CEM()
    classifier: Classifier = Classifier()
    random_episodes: int = 1  # episodes of uniformly random actions before the first plan, at least
    trial_steps: int | None = None  # longest episode of experience, steps; none: the task's horizon
    round_steps: int = 40  # fewest steps of experience in a round, collected in whole episodes
    refit_growth: float = 0.05  # growth of the data since the last fit, as a share of them, that triggers the next fit
    final_weight: float = 1.0  # factor on the cost of a plan's last state: a crude value beyond the horizon
    backup: str | None = None  # "module:function" that makes the controller for where no plan keeps the constraints

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        require_at_least(self, random_episodes=1, trial_steps=1, round_steps=1, refit_growth=0, final_weight=0)
        _ = self.mpc

    @property
    def mpc(self) -> LearnedMPC:
        """MPC with a learned model, of which PETS is an instance."""
        return LearnedMPC(
            model=self.model,
            planner=self.planner,
            classifier=self.classifier,
            base=RandomPolicy(),
            base_episodes=self.random_episodes,
            trial_steps=self.trial_steps,
            round_steps=self.round_steps,
            refit_growth=self.refit_growth,
            final_weight=self.final_weight,
            backup=self.backup,
        )

    @property
    def keeps_constraints(self) -> bool:
        """True: its plans keep the constraints of the task."""
        return True

    def init(self, env: Env, *, key: PRNGKeyArray) -> Experience:
        """See `LearnedMPC`."""
        return self.mpc.init(env, key=key)

    def iterate(self, state: Experience, env: Env, *, key: PRNGKeyArray) -> tuple[Experience, Info]:
        """See `LearnedMPC`."""
        return self.mpc.iterate(state, env, key=key)

    def with_data(
        self, state: Experience, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> Experience:
        """See `LearnedMPC`."""
        return self.mpc.with_data(state, env, episodes, key=key)

    def problem(self, state: Experience, env: Env) -> Problem:
        """See `LearnedMPC`."""
        return self.mpc.problem(state, env)

    def controller(self, state: Experience, env: Env) -> Controller:
        """See `LearnedMPC`."""
        return self.mpc.controller(state, env)
