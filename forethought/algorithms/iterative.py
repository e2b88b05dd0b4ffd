"""Execute, aggregate, refit, replan: a new plan for the whole episode after each episode.

The base policy acts first.  Then each round plans from the initial state to the end of the episode through the learned
model, executes this plan, adds what happened to the data and fits the model to all of it.  The data come from where the
plans lead, so the model is corrected where it was wrong; within an episode nothing is corrected but by the plan's
feedback gains.
Source: the model-based loop with aggregation of Ross & Bagnell (2012), "Agnostic system identification for model-based
reinforcement learning", without their share of exploration data; as in Deisenroth & Rasmussen (2011), figure 1.
"""

from collections.abc import Sequence

import jax.random as jr
from jaxtyping import PRNGKeyArray

from forethought.algorithms.executed_plan import execute_plan
from forethought.algorithms.experience import (
    Experience,
    collect_count,
    for_observations,
    learn,
    learn_from_data,
    no_experience,
    require_at_least,
)
from forethought.algorithms.model_learning import ModelLearning
from forethought.algorithms.protocol import Info
from forethought.core import Controller, Planner, Problem, Regression, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.ilqr import ILQR
from forethought.planning.whole_plan import WholePlan, require_whole
from forethought.policies.base_policy import BasePolicy, RandomPolicy


@settings
class Iterative:
    """Settings of planning a whole episode, again after each episode."""

    model: Regression = Ensemble()
    planner: Planner = ILQR(iterations=100, starts=8)
    classifier: Classifier = Classifier()
    base: BasePolicy = RandomPolicy()
    base_episodes: int = 1  # episodes under the base policy before the first plan
    feedback: bool = True  # act by the plan's feedback gains; false: replay the planned actions
    refit_growth: float = 0.0  # growth of the data since the last fit, as a share of them, that triggers the next fit
    final_weight: float = 1.0  # factor on the cost of a plan's last state
    integrate: bool = False  # positions are integrated from learned velocities, if the environment names them

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, base_episodes=1, refit_growth=0, final_weight=0)

    @property
    def replans(self) -> bool:
        """Whether its controller makes new plans within an episode: no."""
        return False

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
        require_whole(self.planner, env.task.horizon, type(self).__name__)
        return no_experience(self.learning, self.planner, env, key=key)

    def iterate(self, state: Experience, env: Env, *, key: PRNGKeyArray) -> tuple[Experience, Info]:
        """Execute a plan (at first the base policy), aggregate, refit."""
        act_key, fit_key = jr.split(key)
        if int(state.episodes) == 0:
            episodes = collect_count(env, self.base.controller(env), self.base_episodes, key=act_key)
            after, metrics = learn(self.learning, state, episodes, key=fit_key)
            return after, Info(episodes, metrics)
        executed = execute_plan(env, self.problem(state, env), self.planner, feedback=self.feedback, key=act_key)
        after, metrics = learn(self.learning, state, [executed.episode], key=fit_key)
        metrics |= executed.metrics(env.space, state.buffer.rows().x)
        return after, Info([executed.episode], metrics, executed.notes())

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
        """A plan through the learned model from the initial state, executed as a whole."""
        return for_observations(env, WholePlan(self.planner, self.problem(state, env), self.feedback))
