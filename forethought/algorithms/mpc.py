"""Model-predictive control with a learned model: fit, replan at each step, aggregate, fit again.

The base policy acts first.  Then each round acts by MPC with any planner through any model, adds what happened to the
data and fits the model to all of it.  PETS is the published instance: an ensemble and CEM.
Source: Nagabandi et al. (2018), algorithm 1; Chua et al. (2018), algorithm 1.
Differs: a round may be several short episodes; the model is fitted after a round when the data have grown enough; a
reward or termination that the task does not know is learned; the final cost may be weighted.
"""

from collections.abc import Sequence

import jax.random as jr
from jaxtyping import PRNGKeyArray

from forethought.algorithms.divergence import divergence_notes
from forethought.algorithms.experience import (
    Experience,
    for_observations,
    learn,
    learn_from_data,
    no_experience,
    require_at_least,
)
from forethought.algorithms.model_learning import ModelLearning
from forethought.algorithms.protocol import Info
from forethought.algorithms.safety import with_backup
from forethought.core import Controller, Planner, Problem, Regression, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env, collect_episodes
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.mpc import MPC
from forethought.policies.base_policy import BasePolicy, RandomPolicy


@settings
class LearnedMPC:
    """Settings of MPC with a learned model."""

    model: Regression = Ensemble()
    planner: Planner = CEM()
    classifier: Classifier = Classifier()
    base: BasePolicy = RandomPolicy()
    base_episodes: int = 1  # episodes under the base policy before the first plan, at least
    trial_steps: int | None = None  # longest episode of experience, steps; none: the task's horizon
    round_steps: int = 40  # fewest steps of experience in a round, collected in whole episodes
    refit_growth: float = 0.05  # growth of the data since the last fit, as a share of them, that triggers the next fit
    final_weight: float = 1.0  # factor on the cost of a plan's last state: a crude value beyond the horizon
    integrate: bool = False  # positions are integrated from learned velocities, if the environment names them
    backup: str | None = None  # "module:function" that makes the controller for where no plan keeps the constraints

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        require_at_least(self, base_episodes=1, trial_steps=1, round_steps=1, refit_growth=0, final_weight=0)
        members = getattr(self.model, "members", 1)  # a Gaussian process samples a function for each particle
        particles = getattr(self.planner, "particles", members)  # a planner of the user's own may have none
        if particles % members:
            raise ValueError(
                f"planner.particles ({particles}) must be a multiple of model.members ({members}); use {members}."
            )

    @property
    def learning(self) -> ModelLearning:
        """Settings of what is learned from the data."""
        return ModelLearning(self.model, self.classifier, self.refit_growth, self.integrate)

    @property
    def keeps_constraints(self) -> bool:
        """True: its plans keep the constraints of the task."""
        return True

    def init(self, env: Env, *, key: PRNGKeyArray) -> Experience:
        """No experience; an untrained model."""
        return no_experience(self.learning, self.planner, env, key=key)

    def iterate(self, state: Experience, env: Env, *, key: PRNGKeyArray) -> tuple[Experience, Info]:
        """One round: at least `round_steps` steps (lines 4-9 of Chua et al.), then a fit to all the data (line 3)."""
        act_key, fit_key = jr.split(key)
        exploring = int(state.episodes) < self.base_episodes
        controller = self.base.controller(env) if exploring else self.controller(state, env)
        episodes = collect_episodes(env, controller, least_steps=self.round_steps, steps=self.trial_steps, key=act_key)
        after, metrics = learn(self.learning, state, episodes, key=fit_key)
        problem = self.problem(after, env)
        notes = divergence_notes(problem, self.planner, self.model, episodes[-1], learn_reward=env.learn_reward)
        return after, Info(episodes, metrics, notes)

    def with_data(
        self, state: Experience, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> Experience:
        """Recorded episodes in place of those of the base policy, and a model fitted to them."""
        del env
        return learn_from_data(self.learning, state, episodes, key=key)

    def problem(self, state: Experience, env: Env) -> Problem:
        """The task with what was learned in place of what is unknown."""
        return state.learned.problem(env, final_weight=self.final_weight)

    def controller(self, state: Experience, env: Env) -> Controller:
        """MPC with the learned dynamics; the backup where no plan keeps the constraints."""
        mpc = for_observations(env, MPC(self.planner, self.problem(state, env)))
        return with_backup(mpc, self.backup, env)  # type: ignore[arg-type]
