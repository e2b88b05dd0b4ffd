"""PETS: probabilistic ensembles with trajectory sampling.

An ensemble of probabilistic networks learns the dynamics from all experience so far; CEM plans with it inside MPC,
each candidate judged by the average over particles that each believe in one member.
Source: Chua et al. (2018), algorithm 1.
Differs: the first rounds act at random and the model is fitted from then on after every episode, with early stopping
instead of five epochs; a reward or termination that the task does not know is learned; the final cost may be weighted.
"""

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Planner, Problem, Regression, Result, Transition
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error
from forethought.envs.env import Env, collect, learned_space
from forethought.models.classifier import Classifier, FittedClassifier
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.mpc import MPC
from forethought.planning.particles import Propagation, expected_cost
from forethought.policies.uniform import Uniform
from forethought.tasks.learned_task import FromObservation, LearnedTask

TRIED = 8  # sequences of actions by which a new model is tried
LOOK_AHEAD = 20  # steps, where the planner has no horizon


class PETSState(eqx.Module):
    """Everything that was experienced and learned."""

    buffer: Buffer
    dynamics: LearnedDynamics
    termination: FittedClassifier | None  # None where the environment's task knows its terminal states
    round: Int[Array, ""]


@dataclass(frozen=True)
class PETS:
    """Settings of PETS."""

    model: Regression = Ensemble()
    planner: Planner = CEM()
    classifier: Classifier = Classifier()
    random_episodes: int = 1  # episodes of uniform actions before the first plan
    trial_steps: int | None = None  # steps in an episode of experience, at most; none takes the task's horizon
    final_weight: float = 1.0  # the last state of a plan counts as this many: a crude value beyond the horizon

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        if self.random_episodes < 1:
            raise ValueError(f"PETS.random_episodes must be at least 1, got {self.random_episodes}.")
        if self.trial_steps is not None and self.trial_steps < 1:
            raise ValueError(f"PETS.trial_steps must be at least 1, got {self.trial_steps}.")
        if not self.final_weight >= 0:
            raise ValueError(f"PETS.final_weight must be at least 0, got {self.final_weight}.")
        members = getattr(self.model, "members", 1)  # a Gaussian process has none: each particle its own function
        particles = getattr(self.planner, "particles", members)  # a planner of one's own may have none
        if particles % members:
            raise ValueError(
                f"planner.particles ({particles}) must be a multiple of model.members ({members}); use {members}."
            )

    def init(self, env: Env, *, key: PRNGKeyArray) -> PETSState:
        """No experience; an untrained ensemble."""
        model_key, classifier_key = jr.split(key)
        space = learned_space(env, integrate=False)
        n, m, extra = space.size, env.task.action_space.size, int(env.learn_reward)
        model = self.model.init(space.feature_size + m, n + extra, key=model_key)
        termination = self.classifier.init(n, key=classifier_key) if env.learn_termination else None
        dynamics = LearnedDynamics(model, space, extra)
        return PETSState(Buffer.empty(n, m), dynamics, termination, jnp.zeros((), jnp.int32))

    def iterate(self, state: PETSState, env: Env, *, key: PRNGKeyArray) -> tuple[PETSState, Info]:
        """One trial: lines 3-7 of algorithm 1 for one episode, then line 2 on all the data."""
        act_key, fit_key, end_key = jr.split(key, 3)
        exploring = int(state.round) < self.random_episodes
        controller = Uniform(env.task.action_space) if exploring else self.controller(state, env)
        episode = collect(env, controller, steps=self.trial_steps, key=act_key)
        buffer = state.buffer.append(episode)
        error = None if exploring else float(one_step_error(state.dynamics, episode, buffer))
        dynamics, fit = fit_dynamics(self.model, buffer, state.dynamics, key=fit_key)
        Result(int(fit.result)).throw()
        termination, alarm = self._fit_termination(state.termination, buffer, key=end_key)
        metrics = {"model_error": error, **fit.metrics, **alarm}
        after = PETSState(buffer, dynamics, termination, state.round + 1)
        return after, Info([episode], metrics, self._notes(after, env, episode))

    def problem(self, state: PETSState, env: Env) -> Problem:
        """The task with what was learned in place of what was unknown."""
        never = env.learn_termination and not bool(jnp.any(state.buffer.data.terminated))
        known = not env.learn_reward and not env.learn_termination and self.final_weight == 1
        learned = LearnedTask(env.task, state.termination, env.learn_reward, never, self.final_weight)
        task = env.task if known else learned
        return Problem(state.dynamics, task)

    def controller(self, state: PETSState, env: Env) -> Controller:
        """MPC with the learned dynamics."""
        controller = MPC(self.planner, self.problem(state, env))
        return FromObservation(controller) if env.learn_reward else controller

    def _notes(self, state: PETSState, env: Env, episode: Transition) -> tuple[str, ...]:
        """Whether planning with this model is more than a search in the dark."""
        horizon = getattr(self.planner, "horizon", LOOK_AHEAD)
        x0 = jnp.pad(jnp.asarray(episode.x[0]), (0, int(env.learn_reward)))
        places = jnp.linspace(0, len(episode) - 1, TRIED).astype(int)[:, None] + jnp.arange(horizon)[None]
        us = jnp.asarray(episode.u)[places % len(episode)]
        particles: int = getattr(self.planner, "particles", getattr(self.model, "members", 1))
        propagation: Propagation = getattr(self.planner, "propagation", "ts-inf")
        cost = _expected_cost(self.problem(state, env), x0, us, particles=particles, propagation=propagation)
        lost = int(jnp.sum(~jnp.isfinite(cost)))
        if 2 * lost <= TRIED:
            return ()
        return (
            f"The model runs away: within {horizon} steps its predictions are not finite for {lost} of {TRIED} "
            "sequences of actions that were tried, so plans cannot be compared. More data, a shorter planning horizon "
            "or other units of the observations may help.",
        )

    def _fit_termination(
        self, previous: FittedClassifier | None, buffer: Buffer, *, key: PRNGKeyArray
    ) -> tuple[FittedClassifier | None, dict[str, float]]:
        ends = buffer.data.terminated
        if previous is None or not bool(jnp.any(ends)):
            return previous, {}
        fitted, error = self.classifier.fit(buffer.data.x_next, ends, buffer.size, previous=previous, key=key)
        return fitted, {"termination_error": float(error)}


@eqx.filter_jit
def _expected_cost(problem: Problem, x0, us, *, particles: int, propagation: Propagation) -> Float[Array, "S"]:
    return expected_cost(problem, x0, us, particles=particles, propagation=propagation, key=jr.key(0))
