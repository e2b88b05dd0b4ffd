"""MB-MF: a model and MPC learn fast, a policy imitates their controller, and the policy goes on without the model.

Phase 1   MPC with a learned model, for `model_steps` real steps: rounds of algorithms/mpc.py.
Phase 2   `imitation_rounds` rounds.  In the first the MPC controller acts and a policy is fitted to its actions,
          those of the newest part of phase 1 among them (behavior cloning).  In the others the policy acts, the
          controller names its actions in the states visited, and the policy is fitted to all of them (DAgger).
Phase 3   the policy is improved without a model, by `fine_tuning`: SAC, PPO or policy gradient.  SAC begins with the
          experience of the phases before.
A small model with MPC tops out at what the model and the horizon allow; a learner alone would take far more
real steps to come as far.  Each phase begins in a new round; the metric `phase` tells which it was.
Source: Nagabandi et al. (2018), Neural network dynamics for model-based deep RL with model-free fine-tuning; DAgger:
Ross et al. (2011), algorithm 3.1.
Differs: SAC in place of TRPO by default; the planner is any of planning/, the model an ensemble; actions of phase 1 are
imitated too; errors of imitation count by their absolute value, see learners/behavior_cloning.py.
"""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.demonstrations import demonstrate
from forethought.algorithms.experience import Experience, require_at_least
from forethought.algorithms.mpc import LearnedMPC
from forethought.algorithms.protocol import Info, StartsFromPolicy
from forethought.algorithms.sac import SAC
from forethought.core import Buffer, Controller, Planner, Problem, Regression, Transition, require_box
from forethought.core.settings import settings
from forethought.envs.env import Env, spaces_of
from forethought.learners.behavior_cloning import BehaviorCloning
from forethought.learners.sac import SACLearner
from forethought.models.classifier import Classifier
from forethought.models.ensemble import Ensemble
from forethought.planning.cem import CEM
from forethought.policies.acting import Acting

PHASES = ("model-based", "imitation", "model-free")


class MBMFState(eqx.Module):
    """What was learned in each phase."""

    model_based: Experience
    demonstrations: Buffer  # {"x": observation, "u": the controller's action there}
    imitations: Int[Array, ""]  # rounds of phase 2 so far
    model_free: Any  # of `fine_tuning`


@settings
class MBMF:
    """Settings of MB-MF."""

    model: Regression = Ensemble()
    planner: Planner = CEM()
    classifier: Classifier = Classifier()
    fine_tuning: StartsFromPolicy = SAC(learner=SACLearner(initial_temperature=0.1))
    cloning: BehaviorCloning = BehaviorCloning()
    model_steps: int = 5000  # real steps of phase 1, at least
    imitation_rounds: int = 3  # rounds of phase 2; the first clones, the others are DAgger
    imitation_steps: int = 1000  # fewest real steps of a round of phase 2
    round_steps: int = 40  # fewest real steps of a round of phase 1
    refit_growth: float = 0.05  # growth of the data since the last fit, as a share of them, that triggers the next fit
    final_weight: float = 1.0  # factor on the cost of a plan's last state: a crude value beyond the horizon
    trial_steps: int | None = None  # longest episode of phase 1, steps; none: the task's horizon
    imitated_share: float = 0.5  # newest part of the steps of phase 1 whose actions are imitated too

    def __post_init__(self):
        """Refuse settings that cannot work together."""
        require_at_least(self, model_steps=1, imitation_rounds=1, imitation_steps=1)
        if not 0 <= self.imitated_share <= 1:
            raise ValueError(f"MBMF.imitated_share must be between 0 and 1, got {self.imitated_share}.")
        _ = self.mpc

    @property
    def mpc(self) -> LearnedMPC:
        """Phase 1."""
        return LearnedMPC(
            self.model,
            self.planner,
            self.classifier,
            trial_steps=self.trial_steps,
            round_steps=self.round_steps,
            refit_growth=self.refit_growth,
            final_weight=self.final_weight,
        )

    def phase(self, state: MBMFState) -> int:
        """Which phase the next round belongs to: 1, 2 or 3."""
        if int(state.model_based.buffer.size) < self.model_steps:
            return 1
        return 2 if int(state.imitations) < self.imitation_rounds else 3

    def init(self, env: Env, *, key: PRNGKeyArray) -> MBMFState:
        """Nothing learned.

        Raises:
            UsageError: discrete actions.
        """
        model_key, policy_key = jr.split(key)
        require_box(env.task.action_space, "MB-MF")
        example = spaces_of(env).example()
        demonstrations = Buffer.like({"x": example.x, "u": example.u}, 1024)
        model_based = self.mpc.init(env, key=model_key)
        model_free = self.fine_tuning.init(env, key=policy_key)
        return MBMFState(model_based, demonstrations, jnp.zeros((), jnp.int32), model_free)

    def iterate(self, state: MBMFState, env: Env, *, key: PRNGKeyArray) -> tuple[MBMFState, Info]:
        """One round of the phase that is due."""
        phase = self.phase(state)
        if phase == 1:
            model_based, info = self.mpc.iterate(state.model_based, env, key=key)
            state = eqx.tree_at(lambda s: s.model_based, state, model_based)
        elif phase == 2:
            state, info = self._imitate(state, env, key=key)
        else:
            model_free, info = self.fine_tuning.iterate(state.model_free, env, key=key)
            state = eqx.tree_at(lambda s: s.model_free, state, model_free)
        notes = (*info.notes, f"phase {phase} of 3 ({PHASES[phase - 1]})")
        return state, Info(info.episodes, {"phase": float(phase), **info.metrics}, notes, info.summary)

    def with_data(self, state: MBMFState, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray) -> MBMFState:
        """Recorded episodes as experience of phase 1; they count among its `model_steps`."""
        model_based = self.mpc.with_data(state.model_based, env, episodes, key=key)
        return eqx.tree_at(lambda s: s.model_based, state, model_based)

    def problem(self, state: MBMFState, env: Env) -> Problem:
        """The task with what was learned in phase 1."""
        return self.mpc.problem(state.model_based, env)

    def controller(self, state: MBMFState, env: Env) -> Controller:
        """MPC in phase 1, then the policy."""
        if int(state.imitations) == 0:
            return self.mpc.controller(state.model_based, env)
        return self.fine_tuning.controller(state.model_free, env)

    def _imitate(self, state: MBMFState, env: Env, *, key: PRNGKeyArray) -> tuple[MBMFState, Info]:
        """A round of phase 2."""
        act_key, label_key, clone_key = jr.split(key, 3)
        expert, policy = self.mpc.controller(state.model_based, env), self.fine_tuning.policy_of(state.model_free)
        actor = None if int(state.imitations) == 0 else Acting(policy, mode=True)
        demonstrations, experience = state.demonstrations, state.model_based.buffer
        if actor is None:
            demonstrations = self._with_newest(demonstrations, experience)
        shown = demonstrate(env, expert, actor, least_steps=self.imitation_steps, act_key=act_key, label_key=label_key)
        for episode, us in shown:
            demonstrations = demonstrations.append({"x": episode.x, "u": us})
            experience = experience.append(episode)
        rows, size, space = demonstrations.data, demonstrations.size, env.task.action_space
        policy, report = self.cloning.fit(policy, rows["x"], rows["u"], size, space=space, key=clone_key)
        imitations = state.imitations + 1
        last = int(imitations) == self.imitation_rounds
        model_free = self.fine_tuning.with_policy(state.model_free, policy, experience.rows() if last else None)
        model_based = eqx.tree_at(lambda e: e.buffer, state.model_based, experience)
        episodes = [episode for episode, _ in shown]
        return MBMFState(model_based, demonstrations, imitations, model_free), Info(episodes, {**report.metrics})

    def _with_newest(self, demonstrations: Buffer, experience: Buffer) -> Buffer:
        """With the states and actions of the newest part of phase 1."""
        count = int(self.imitated_share * int(experience.size))
        if not count:
            return demonstrations
        rows = experience.rows()
        return demonstrations.append({"x": rows.x[-count:], "u": rows.u[-count:]})
