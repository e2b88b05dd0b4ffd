"""PILCO: a Gaussian process learns the dynamics, and a policy is improved by the gradient of its expected cost.

The expected cost is that of a predicted trajectory of Gaussians, which includes what the process does not know.
Source: Deisenroth & Rasmussen (2011), algorithm 1; Deisenroth, Fox & Rasmussen (2015).
Differs: in every search new random policies compete with the last one by their expected cost; in the first searches the
cost of the last steps is not counted, and screening smooths the cost; a policy that solved its trial is kept until
another one is predicted to be better.  See docs/fidelity.md.
"""

from collections.abc import Sequence
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.pilco_candidates import Candidates, candidates, random_function
from forethought.algorithms.pilco_checks import unmet_assumptions
from forethought.algorithms.pilco_objective import ExpectedCost, initial_states
from forethought.algorithms.pilco_schedule import Schedule, horizon_grows, schedule
from forethought.algorithms.pilco_settings import (
    HorizonSettings,
    ObjectiveSettings,
    PolicySettings,
    SearchSettings,
    TrialSettings,
)
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Problem, Result, Trajectory, Transition, UsageError, require_box
from forethought.core.precision import in_float32, in_float64
from forethought.core.settings import settings
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error
from forethought.envs.env import Env, collect, learned_space, physics_of
from forethought.models.gp.process import GP
from forethought.policies import multistart
from forethought.policies.multistart import Found
from forethought.policies.prediction import PredictedTrajectory
from forethought.policies.squashed import RBF, Affine, SquashedPolicy
from forethought.policies.uniform import Uniform


class PILCOState(eqx.Module):
    """All experience and what was learned from it; between rounds in float32, within a search in float64."""

    buffer: Buffer
    dynamics: LearnedDynamics
    policy: SquashedPolicy
    expected_cost: Float[Array, ""]  # of the policy, as the search that found it evaluated it
    prediction: PredictedTrajectory  # of an episode under the policy
    round: Int[Array, ""]
    growths: Int[Array, ""]  # how often the horizon has grown


@settings
class PILCO:
    """Settings of PILCO."""

    model: GP = GP()
    policy: PolicySettings = PolicySettings()
    trials: TrialSettings = TrialSettings()
    objective: ObjectiveSettings = ObjectiveSettings()
    search: SearchSettings = SearchSettings()
    horizon: HorizonSettings = HorizonSettings()
    integrate: bool = False  # positions are integrated from learned velocities, if the environment names them

    def init(self, env: Env, *, key: PRNGKeyArray) -> PILCOState:
        """No experience, an untrained model and a random policy."""
        if env.learn_reward or env.learn_termination:
            raise UsageError(
                f"PILCO needs the cost of {env.name} as a function, and episodes that end by their time limit only: "
                "give --cost and --termination."
            )
        if physics_of(env) is not None:
            raise UsageError(
                "PILCO needs moments of the whole dynamics, which known physics do not have: leave --physics out, or "
                "use mpc, pets, iterative or fit-once."
            )
        limits = require_box(env.task.action_space, "PILCO")
        space = learned_space(env, integrate=self.integrate)
        model_key, policy_key = jr.split(key)
        n, m, f, T = space.size, limits.size, space.feature_size, env.task.horizon
        function = random_function(self.policy, np.zeros((1, f)), m, key=policy_key)
        model = self.model.init(f + m, len(space.learned), key=model_key)
        drift = jnp.zeros(len(space.velocities)) if space.velocities else None
        state = PILCOState(
            Buffer.empty(n, m),
            LearnedDynamics(model, space, drift=drift),
            SquashedPolicy(in_float32(function), limits, jnp.ones(f), env.space),
            jnp.array(jnp.nan),
            PredictedTrajectory.unknown(T, n, m),
            jnp.zeros((), jnp.int32),
            jnp.zeros((), jnp.int32),
        )
        lengths = self.schedule(state, env)
        if not lengths.counted[1:]:
            raise UsageError(
                f"objective.skip_first is {lengths.counted.start} steps, and the first search counts the cost of "
                f"{lengths.counted.stop - 1} steps: none are left."
            )
        return state

    def iterate(self, state: PILCOState, env: Env, *, key: PRNGKeyArray) -> tuple[PILCOState, Info]:
        """One pass of the loop of algorithm 1, from the trial to the policy that is learned from all data."""
        trial_key, fit_key, search_key = jr.split(key, 3)
        trial, solved = self._trial(state, env, key=trial_key)  # lines 1 and 11: apply the policy, record data
        buffer = state.buffer.append(trial)
        with jax.enable_x64(True):
            data = in_float64(buffer)
            dynamics, fit = fit_dynamics(self.model, data, state.dynamics, key=fit_key)  # line 3: learn the dynamics
            Result(int(fit.result)).throw()
            last = eqx.tree_at(lambda s: (s.buffer, s.dynamics), in_float64(state), (data, dynamics))
            restarts = 0 if solved else self.search.restarts
            policy, found = self.improve(last, env, restarts=restarts, key=search_key)  # lines 4-10: policy search
            episode = self._episode_cost(last, env)
            if solved and not self._is_better(policy, episode, trial):
                policy, found = last.policy, found._replace(cost=float(last.expected_cost), start=0)
            prediction = episode.predict(policy)
            grows = horizon_grows(self.horizon, self.schedule(state, env), prediction.cost)
        learned = in_float32((data, dynamics, policy, jnp.asarray(found.cost), prediction))
        after = PILCOState(*learned, state.round + 1, state.growths + grows)
        metrics = self._metrics(state, after, trial, found, fit)
        return after, Info([trial], metrics, self._notes(state, after, env, trial))

    def improve(self, state: PILCOState, env: Env, *, restarts: int, key: PRNGKeyArray) -> tuple[SquashedPolicy, Found]:
        """The policy with the least expected cost; lines 4-10 of algorithm 1, from several candidates.

        Args:
            state: the last policy, and dynamics fitted to all data, in float64.
            env: for its task.
            restarts: new random candidates.
            key: for these and the initial states.
        Returns: the policy and how it was found: `evaluations` for all candidates, `start` the number of the candidate.
        Raises: NumericalFailure if no candidate has a finite expected cost.
        """
        cost_key, *restart_keys = jr.split(key, 1 + restarts)
        cost = self._search_cost(state, env, key=cost_key)
        policy, functions, first = self._candidates(state, cost, restart_keys, key=cost_key)

        def objective(cost: ExpectedCost) -> multistart.Objective:
            return lambda function: cost(policy.with_function(function))  # lines 6-7: value and gradient

        found = multistart.screened_search(
            objective(cost.smoothed(self.objective.cost_smoothing)),
            objective(cost),
            functions,
            screening_evaluations=self.search.screening,
            finalists=self.search.finalists,
            evaluations=self.search.evaluations,
            limits=type(cast(Affine | RBF, policy.function)).limits,
        )
        if not np.isfinite(found.cost):
            Result.not_finite.throw()
        return policy.with_function(found.at), found._replace(start=first + found.start)  # line 10

    def controller(self, state: PILCOState, env: Env) -> Controller:
        """The policy."""
        del env
        return state.policy

    def with_data(
        self, state: PILCOState, env: Env, episodes: Sequence[Transition], *, key: PRNGKeyArray
    ) -> PILCOState:
        """Recorded episodes as experience; the first trial is still random."""
        del env, key
        buffer = state.buffer
        for episode in episodes:
            buffer = buffer.append(episode)
        return eqx.tree_at(lambda s: s.buffer, state, buffer)

    def problem(self, state: PILCOState, env: Env) -> Problem:
        """The task with the learned dynamics."""
        return Problem(state.dynamics, env.task)

    def prediction(self, state: PILCOState) -> PredictedTrajectory:
        """What the model predicts of an episode under the policy."""
        return state.prediction

    def schedule(self, state: PILCOState, env: Env) -> Schedule:
        """The lengths of the next round, in steps."""
        searches, growths = max(0, int(state.round) + 1 - self.trials.random_episodes), int(state.growths)
        areas = (self.trials, self.objective, self.horizon)
        return schedule(*areas, task_horizon=env.task.horizon, searches=searches, growths=growths)

    def _explores(self, state: PILCOState) -> bool:
        """Whether the next round's actions are random."""
        return int(state.round) < self.trials.random_episodes

    def _trial(self, state: PILCOState, env: Env, *, key: PRNGKeyArray) -> tuple[Transition, bool]:
        """An episode of experience, and whether the policy solved the task in it."""
        explores, steps = self._explores(state), self.schedule(state, env).trial
        controller = Uniform(env.task.action_space, self.trials.random_hold) if explores else state.policy
        trial = collect(env, controller, steps=steps, key=key)
        return trial, not explores and bool(env.task.solved(Trajectory.of_episode(trial)))

    def _search_cost(self, state: PILCOState, env: Env, *, key: PRNGKeyArray) -> ExpectedCost:
        """What the search minimizes."""
        area, counted = self.objective, jnp.asarray(self.schedule(state, env).mask)
        components, std_scale = area.initial_components, area.initial_std_scale
        starts = initial_states(env.task, state.buffer, components=components, std_scale=std_scale, key=key)
        options = (jnp.zeros(()), area.exploration, area.sensor_noise)
        return ExpectedCost(state.dynamics, env.task, starts, counted, *options)

    def _episode_cost(self, state: PILCOState, env: Env) -> ExpectedCost:
        """The cost of a whole episode from the task's initial states."""
        sensor_noise = self.objective.sensor_noise
        return ExpectedCost.of_episode(state.dynamics, env.task, state.buffer, sensor_noise=sensor_noise)

    def _candidates(
        self, state: PILCOState, cost: ExpectedCost, restart_keys: list[PRNGKeyArray], *, key: PRNGKeyArray
    ) -> Candidates:
        """What the search starts from."""
        optimized = not self._explores(state)
        recenter_keys = [jr.fold_in(key, i) for i in range(self.search.recentered if optimized else 0)]
        visited = cost.predict(state.policy).states if recenter_keys else None
        xs = state.buffer.rows().x
        return candidates(self.policy, state.policy, xs, visited, restart_keys, recenter_keys, optimized=optimized)

    def _is_better(self, policy: SquashedPolicy, episode: ExpectedCost, trial: Transition) -> bool:
        """Whether this policy is to replace the one that solved the trial.

        A search also exploits the errors of the model, and a model that predicts a high cost for a trial that was
        solved has to learn from it first.
        """
        predicted = episode.starting_at(trial.x[0]).predict(policy).cost[: len(trial)]
        cost = -float(np.sum(trial.reward))
        return float(jnp.sum(predicted)) < cost - self.search.min_improvement * abs(cost)

    def _metrics(
        self, state: PILCOState, after: PILCOState, trial: Transition, found: Found, fit: Any
    ) -> dict[str, float | None]:
        """Numbers for the record of the run."""
        known = not self._explores(state)
        expected = float(jnp.sum(state.prediction.cost[: len(trial)])) if known else None  # of the trial, before it
        return {
            "model_error": float(one_step_error(state.dynamics, trial, after.buffer)) if known else None,
            "predicted_cost": found.cost,
            "expected_cost": expected,
            "search_evaluations": float(found.evaluations),
            "candidate": float(found.start),  # 0 is the last policy
            **fit.metrics,
        }

    def _notes(self, state: PILCOState, after: PILCOState, env: Env, trial: Transition) -> tuple[str, ...]:
        """Which assumptions of PILCO do not hold here."""
        components = self.objective.initial_components
        starts = initial_states(env.task, after.buffer, components=components, key=jr.key(0))
        vague = int(after.round) <= self.trials.random_episodes + 2  # the first models' predictions raise no warnings
        return unmet_assumptions(
            dynamics=after.dynamics,
            model=self.model,
            task=env.task,
            start=jax.tree.map(lambda a: a[0], starts),
            trial=trial,
            highest_cost=float(np.max(-np.asarray(after.buffer.rows().reward))),
            predicted=None if vague else state.prediction,
            upcoming=None if vague else after.prediction,
        )
