"""Fit once: act by a base policy, fit a model, plan the whole episode through it, execute the plan.

The simplest use of a learned model.  The data come from where the base policy leads, not from where the plan does: the
plan may lead to states that the model has never seen, and the episode then drifts away from the prediction.
The first round acts by the base policy and fits; every further one plans from a new initial state and executes the
plan, without learning.
Source: the first pass of `forethought.algorithms.iterative`.
"""

from collections.abc import Sequence

from jaxtyping import PRNGKeyArray

from forethought.algorithms.executed_plan import execute_plan
from forethought.algorithms.experience import Experience, require_at_least
from forethought.algorithms.iterative import Iterative
from forethought.algorithms.protocol import Info
from forethought.core import Controller, Planner, Problem, Regression, Transition
from forethought.core.settings import settings
from forethought.envs.env import Env
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.ilqr import ILQR
from forethought.planning.whole_plan import require_whole
from forethought.policies.base_policy import BasePolicy, RandomPolicy


@settings
class FitOnce:
    """Settings of planning through a model that is fitted once."""

    model: Regression = Ensemble()
    planner: Planner = ILQR(iterations=100, starts=8)
    classifier: Classifier = Classifier()
    base: BasePolicy = RandomPolicy()
    base_episodes: int = 5  # episodes under the base policy, to which the model is fitted
    feedback: bool = True  # act by the plan's feedback gains; false: replay the planned actions
    final_weight: float = 1.0  # factor on the cost of a plan's last state
    integrate: bool = False  # positions are integrated from learned velocities, if the environment names them

    def __post_init__(self):
        """Refuse settings that cannot work."""
        require_at_least(self, base_episodes=1, final_weight=0)

    @property
    def replans(self) -> bool:
        """Whether its controller makes new plans within an episode: no."""
        return False

    @property
    def first_pass(self) -> Iterative:
        """The algorithm whose first round this is."""
        return Iterative(
            model=self.model,
            planner=self.planner,
            classifier=self.classifier,
            base=self.base,
            base_episodes=self.base_episodes,
            feedback=self.feedback,
            final_weight=self.final_weight,
            integrate=self.integrate,
        )

    @property
    def keeps_constraints(self) -> bool:
        """True: its plans keep the constraints of the task."""
        return True

    def init(self, env: Env, *, key: PRNGKeyArray) -> Experience:
        """No experience; an untrained model."""
        require_whole(self.planner, env.task.horizon, type(self).__name__)
        return self.first_pass.init(env, key=key)

    def iterate(self, state: Experience, env: Env, *, key: PRNGKeyArray) -> tuple[Experience, Info]:
        """At first: act by the base policy and fit.  Afterwards: plan and execute."""
        if int(state.episodes) == 0:
            return self.first_pass.iterate(state, env, key=key)
        executed = execute_plan(env, self.problem(state, env), self.planner, feedback=self.feedback, key=key)
        metrics = executed.metrics(env.space, state.buffer.rows().x)
        return state, Info([executed.episode], metrics, executed.notes())

    def with_data(
        self, state: Experience, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> Experience:
        """See `Iterative`."""
        return self.first_pass.with_data(state, env, episodes, key=key)

    def problem(self, state: Experience, env: Env) -> Problem:
        """The task with what was learned in place of what is unknown."""
        return self.first_pass.problem(state, env)

    def controller(self, state: Experience, env: Env) -> Controller:
        """A plan through the learned model from the initial state, executed as a whole."""
        return self.first_pass.controller(state, env)
