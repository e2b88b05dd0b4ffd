"""PETS: probabilistic ensembles with trajectory sampling.

An ensemble of probabilistic networks learns the dynamics from all experience so far; CEM plans with it inside MPC,
each candidate sequence of actions scored by its average cost over particles, each of which follows one member.
Source: Chua et al. (2018), algorithm 1.
Differs: a round may be several short episodes; the first acts at random; the model is fitted after a round when the
data have grown enough, with early stopping instead of five epochs; a reward or termination that the task does not know
is learned; the final cost may be weighted.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.model_learning import Learned, ModelLearning
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Planner, Problem, Regression, Result, Transition, require_box
from forethought.core.settings import settings
from forethought.dynamics.learned import one_step_error
from forethought.envs.env import Env, collect_episodes
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.planning.mpc import MPC
from forethought.planning.particles import Propagation, expected_cost
from forethought.policies.uniform import Uniform
from forethought.tasks.learned_task import FromObservation

TEST_SEQUENCES = 8  # action sequences that a new model is tested on
TEST_HORIZON = 20  # steps of each, where the planner has no horizon


class PETSState(eqx.Module):
    """Everything that was experienced and learned."""

    buffer: Buffer
    learned: Learned
    episodes: Int[Array, ""]


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

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        if self.random_episodes < 1:
            raise ValueError(f"PETS.random_episodes must be at least 1, got {self.random_episodes}.")
        if self.round_steps < 1:
            raise ValueError(f"PETS.round_steps must be at least 1, got {self.round_steps}.")
        if not self.refit_growth >= 0:
            raise ValueError(f"PETS.refit_growth must be at least 0, got {self.refit_growth}.")
        if self.trial_steps is not None and self.trial_steps < 1:
            raise ValueError(f"PETS.trial_steps must be at least 1, got {self.trial_steps}.")
        if not self.final_weight >= 0:
            raise ValueError(f"PETS.final_weight must be at least 0, got {self.final_weight}.")
        members = getattr(self.model, "members", 1)  # a Gaussian process samples a function for each particle
        particles = getattr(self.planner, "particles", members)  # a planner of the user's own may have none
        if particles % members:
            raise ValueError(
                f"planner.particles ({particles}) must be a multiple of model.members ({members}); use {members}."
            )

    @property
    def learning(self) -> ModelLearning:
        """Settings of what is learned from the data."""
        return ModelLearning(self.model, self.classifier, self.refit_growth)

    def init(self, env: Env, *, key: PRNGKeyArray) -> PETSState:
        """No experience; an untrained model."""
        buffer = Buffer.empty(env.space.size, require_box(env.task.action_space, "PETS").size)
        return PETSState(buffer, self.learning.init(env, key=key), jnp.zeros((), jnp.int32))

    def iterate(self, state: PETSState, env: Env, *, key: PRNGKeyArray) -> tuple[PETSState, Info]:
        """One round: lines 4-9 of algorithm 1 for at least `round_steps` steps, then line 3 on all the data."""
        act_key, fit_key = jr.split(key)
        exploring = int(state.episodes) < self.random_episodes
        controller = Uniform(env.task.action_space) if exploring else self.controller(state, env)
        episodes = collect_episodes(  # lines 4-9
            env, controller, least_steps=self.round_steps, steps=self.trial_steps, key=act_key
        )
        buffer = state.buffer
        for episode in episodes:
            buffer = buffer.append(episode)
        error = None if exploring else float(one_step_error(state.learned.dynamics, _joined(episodes), buffer))
        learned, fit = self.learning.fit(buffer, state.learned, key=fit_key)  # line 3
        Result(fit.result).throw()
        after = PETSState(buffer, learned, state.episodes + len(episodes))
        return after, Info(episodes, {"model_error": error, **fit.metrics}, self._notes(after, env, episodes[-1]))

    def problem(self, state: PETSState, env: Env) -> Problem:
        """The task with what was learned in place of what is unknown."""
        return state.learned.problem(env, final_weight=self.final_weight)

    def controller(self, state: PETSState, env: Env) -> Controller:
        """MPC with the learned dynamics."""
        controller = MPC(self.planner, self.problem(state, env))
        return FromObservation(controller) if env.learn_reward else controller

    def _notes(self, state: PETSState, env: Env, episode: Transition) -> tuple[str, ...]:
        """A warning where the model's predictions diverge within the planning horizon."""
        horizon = getattr(self.planner, "horizon", TEST_HORIZON)
        # On the host: episodes differ in length, and each length would compile these again.
        x0 = jnp.asarray(np.pad(np.asarray(episode.x[0]), (0, int(env.learn_reward))))
        starts = np.linspace(0, len(episode) - 1, TEST_SEQUENCES).astype(int)
        us = jnp.asarray(np.asarray(episode.u)[(starts[:, None] + np.arange(horizon)) % len(episode)])
        particles: int = getattr(self.planner, "particles", getattr(self.model, "members", 1))
        propagation: Propagation = getattr(self.planner, "propagation", "ts-inf")
        cost = _expected_cost(self.problem(state, env), x0, us, particles=particles, propagation=propagation)
        diverged = int(jnp.sum(~jnp.isfinite(cost)))
        if 2 * diverged <= TEST_SEQUENCES:
            return ()
        return (
            f"Model predictions diverge: within {horizon} steps they are not finite for {diverged} of the "
            f"{TEST_SEQUENCES} action sequences tested, so plans cannot be compared. More data, a shorter planning "
            "horizon or other units of the observations may help.",
        )


def _joined(episodes: list[Transition]) -> Transition:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *episodes)


@eqx.filter_jit
def _expected_cost(problem: Problem, x0, us, *, particles: int, propagation: Propagation) -> Float[Array, "S"]:
    return expected_cost(problem, x0, us, particles=particles, propagation=propagation, key=jr.key(0))
