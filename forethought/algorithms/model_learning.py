"""Everything that a model-based algorithm learns from its experience, and the planning problem that this makes.

The dynamics are always learned: of an environment with known physics, what these leave unexplained; of one with delayed
actions, the system without the delay.  A reward that the environment does not give as a function is learned with them,
as one more coordinate of the state; states that end an episode are learned by a classifier where the environment does
not tell them.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from forethought.core import Buffer, Discrete, FitReport, Problem, Regression, Result, Transition
from forethought.core.delay import Delay
from forethought.core.settings import settings
from forethought.dynamics.delayed import DelayedModel
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error
from forethought.envs.delayed import delay_of, without_past_actions
from forethought.envs.env import Env, learned_space, physics_of
from forethought.models.classifier import Classifier, FittedClassifier
from forethought.models.ensemble import Ensemble
from forethought.tasks.learned_task import LearnedTask


class Learned(eqx.Module):
    """What was learned so far."""

    dynamics: LearnedDynamics
    termination: FittedClassifier | None  # None where the environment's task knows its terminal states
    end_seen: Bool[Array, ""]  # whether an episode of the data ended in a terminal state
    rows: Int[Array, ""]  # transitions it was fitted to
    delay: Delay | None = eqx.field(static=True, default=None)  # of the actions, which `dynamics` do not contain

    def problem(self, env: Env, *, final_weight: float = 1.0) -> Problem:
        """The environment's task with what was learned in place of what is unknown.

        `final_weight`: factor on the cost of a plan's last state.
        """
        dynamics = self.dynamics if self.delay is None else DelayedModel(self.dynamics, self.delay)
        if not env.learn_reward and not env.learn_termination and final_weight == 1:
            return Problem(dynamics, env.task)
        never_ends = env.learn_termination and not bool(self.end_seen)
        task = LearnedTask(env.task, self.termination, env.learn_reward, never_ends, final_weight)
        return Problem(dynamics, task)

    def one_step_error(self, steps: Transition, seen: Buffer) -> Float[Array, ""]:
        """The error of the dynamics on the transitions `steps` [N]; see `dynamics.learned.one_step_error`."""
        return one_step_error(self.dynamics, self._of_system(steps), self.buffer_of_system(seen))

    def buffer_of_system(self, buffer: Buffer) -> Buffer:
        """The transitions of the system without its delay."""
        return buffer if self.delay is None else eqx.tree_at(lambda b: b.data, buffer, self._of_system(buffer.data))

    def _of_system(self, rows: Transition) -> Transition:
        return rows if self.delay is None else self.delay.undelayed(rows)


class LearningReport(eqx.Module):
    """The reports of the fits: of the dynamics, and of the termination; None for what was not fitted."""

    dynamics: FitReport | None = None
    termination: FitReport | None = None

    @property
    def result(self) -> int:
        """The worst outcome."""
        return max((int(report.result) for report in self._reports), default=int(Result.converged))

    @property
    def metrics(self) -> dict[str, float]:
        """For the record of a run."""
        return {name: value for report in self._reports for name, value in report.metrics.items()}

    @property
    def _reports(self) -> list[FitReport]:
        return [report for report in (self.dynamics, self.termination) if report is not None]


@settings
class ModelLearning:
    """Settings of what is learned, and how."""

    model: Regression = Ensemble()
    classifier: Classifier = Classifier()
    refit_growth: float = 0.0  # growth of the data since the last fit, as a share of them, that makes a new fit due
    integrate: bool = False  # positions are integrated from learned velocities, where the environment names them

    def init(self, env: Env, *, key: PRNGKeyArray) -> Learned:
        """Before any data."""
        model_key, classifier_key = jr.split(key)
        delay, whole = delay_of(env), learned_space(env, integrate=self.integrate)
        space = whole if delay is None else without_past_actions(whole, delay)
        reward = int(env.learn_reward)
        actions = env.task.action_space
        inputs, outputs = space.feature_size + actions.size, len(space.learned) + reward
        model = self.model.init(inputs, outputs, key=model_key)
        drift = jnp.zeros(len(space.velocities)) if space.velocities else None
        termination = self.classifier.init(whole.size, key=classifier_key) if env.learn_termination else None
        none = jnp.zeros((), jnp.int32)
        choices = actions.n if isinstance(actions, Discrete) else 0
        dynamics = LearnedDynamics(model, space, reward, drift, physics_of(env), choices)
        return Learned(dynamics, termination, none > 0, none, delay)

    def fit(self, buffer: Buffer, previous: Learned, *, key: PRNGKeyArray) -> tuple[Learned, LearningReport]:
        """Fit to all transitions of the buffer, starting from `previous`; or `previous` itself where no fit is due.

        A fit is due when the data have grown by `refit_growth`, and when the first terminal state was seen.
        """
        dynamics_key, termination_key = jr.split(key)
        end_seen = jnp.asarray(np.any(np.asarray(buffer.data.terminated)))
        grown = int(buffer.size) - int(previous.rows)
        if grown < self.refit_growth * int(previous.rows) and bool(end_seen == previous.end_seen):
            return previous, LearningReport()
        data = previous.buffer_of_system(buffer)
        dynamics, report = fit_dynamics(self.model, data, previous.dynamics, key=dynamics_key)
        termination, ends = previous.termination, None
        if termination is not None and bool(end_seen):
            states = _labeled_states(buffer)
            termination, ends = self.classifier.fit(*states, previous=termination, key=termination_key)
        learned = Learned(dynamics, termination, end_seen, buffer.size, previous.delay)
        return learned, LearningReport(report, ends)


def _labeled_states(buffer: Buffer) -> tuple[Float[Array, "M n"], Bool[Array, "M"], Int[Array, ""]]:
    """All states, whether each is terminal, and how many rows hold data; M = 2 capacity.

    The state before a step is not terminal: of episodes of one step it is the only one that is not.
    """
    data = buffer.data
    states = jnp.stack([data.x, data.x_next], axis=1).reshape(-1, data.x.shape[1])
    ends = jnp.stack([jnp.zeros_like(data.terminated), data.terminated], axis=1).reshape(-1)
    return states, ends, 2 * buffer.size
