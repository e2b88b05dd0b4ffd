"""PILCO: a Gaussian process learns the dynamics, a policy learns from its predictions, uncertainty included.

Each round runs one trial, fits the process to all data, and improves the policy by the analytic gradient of its
expected cost under a chain of Gaussians.
Source: Deisenroth & Rasmussen (2011), algorithm 1; Deisenroth, Fox & Rasmussen (2015).
Differs: several policies compete in each round, new ones among them, judged by their predicted cost (the paper goes on
from the last one); the first rounds may look less far ahead, and blur the cost so that it is felt from afar; what the
first steps of an episode cost may be left out.
"""

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.algorithms.pilco_checks import outside_comfort
from forethought.algorithms.pilco_search import (
    expected_cost,
    imagine_compiled,
    recentered,
    start_distribution,
    units,
)
from forethought.algorithms.protocol import Info
from forethought.core import Buffer, Controller, Gaussian, Problem, Result, Trajectory, Transition, UsageError, box_of
from forethought.core.settings import settings
from forethought.dynamics.learned import LearnedDynamics, fit_dynamics, one_step_error, regression_data
from forethought.envs.env import Env, collect, learned_space
from forethought.models.gp.process import GP
from forethought.policies.multistart import Found, Objective, search
from forethought.policies.prediction import Imagined
from forethought.policies.squashed import RBF, Affine, SquashedPolicy, random_affine, random_rbf
from forethought.policies.uniform import Uniform

MASTERED = 0.25  # of the dearest step: what the end of a mastered look ahead is expected to cost, on average


class PILCOState(eqx.Module):
    """Everything that was experienced and learned, in float32."""

    buffer: Buffer
    dynamics: LearnedDynamics
    policy: SquashedPolicy
    predicted: Float[Array, ""]  # cost of the policy's next episode, as the model expects it
    round: Int[Array, ""]
    stretches: Int[Array, ""] | None = None  # how often the look ahead was stretched so far; None: there is none


@settings
class PILCO:
    """Settings of PILCO."""

    model: GP = GP()
    policy: Literal["rbf", "linear"] = "rbf"  # what the policy is before its squash
    basis: int = 30  # radial basis functions
    random_episodes: int = 1  # episodes of uniform actions before the first policy
    random_hold: int = 1  # steps that each of these actions is kept
    trial_steps: int | None = None  # steps in an episode of experience, at most; none takes the task's horizon
    newcomers: int = 3  # new policies that compete with the last one, until a trial is solved
    recentered: int = 0  # copies of the last policy that compete too, their basis moved to where the model sees it go
    scouting: int = 80  # evaluations of the expected cost for every competitor, where there are several
    survivors: int = 2  # competitors that are followed further
    evaluations: int = 200  # of the expected cost, for each of those
    saving: float = 0.0  # share of a solved trial's cost that another policy must be expected to save
    look_ahead: int | None = None  # steps that the search looks ahead at first; none takes the task's horizon
    stretch: float = 1.5  # factor on them, trial_steps and settling whenever the end of the look ahead is mastered
    settling: int = 0  # first steps of an episode, whose cost the search does not count
    first_horizon: float = 0.6  # share of them in the first round
    growing: int = 3  # rounds until it is all of them
    blur: float = 0.0  # of the cost for the competitors' scouting, in the unit that the cost measures
    starts: int = 1  # Gaussians that stand for the initial states
    start_width: float = 1.5  # of them in the search, relative to the truth: a Gaussian underrates what its tails cost
    exploration: float = 0.0  # standard deviations of the cost that count as a bonus
    sensor_noise: bool = True  # the model's noise is the sensors', so it does not move the state
    integrate: bool = False  # positions follow from learned speeds, where the environment tells which those are

    def __post_init__(self):
        """Refuse settings that cannot work."""
        steps = ("trial_steps", "look_ahead", "stretch")
        counts = ("basis", "random_episodes", "random_hold", "scouting", "survivors", "evaluations", "starts", *steps)
        for least, names in ((1, counts), (0, ("newcomers", "recentered", "growing", "blur", "saving", "settling"))):
            for name in names:
                value = getattr(self, name)
                if value is not None and not value >= least:
                    raise ValueError(f"PILCO.{name} must be at least {least}, got {value}.")
        if self.policy not in ("rbf", "linear"):
            raise ValueError(f"PILCO.policy is rbf or linear, got {self.policy}.")
        if not 0 < self.first_horizon <= 1:
            raise ValueError(f"PILCO.first_horizon is a share of the horizon, in (0, 1], got {self.first_horizon}.")
        if not self.start_width > 0:
            raise ValueError(f"PILCO.start_width must be positive, got {self.start_width}.")

    def init(self, env: Env, *, key: PRNGKeyArray) -> PILCOState:
        """No experience; an untrained model, a policy at random."""
        if env.learn_reward or env.learn_termination:
            raise UsageError(
                f"PILCO must know the cost of {env.name} as a function, and that only its clock ends an episode: "
                "give --cost and --termination."
            )
        counted = self._ahead(0, self.look_ahead or env.task.horizon)
        if self.settling >= counted:
            raise UsageError(
                f"settling is {self.settling} steps, and the first search looks {counted} steps ahead: "
                "no step's cost is left to count."
            )
        space = learned_space(env, integrate=self.integrate)
        model_key, policy_key = jr.split(key)
        n, m, f = space.size, env.task.action_space.size, space.feature_size
        model = self.model.init(f + m, len(space.learned), key=model_key)
        function = self._newcomer(jnp.zeros((self.basis, f)), m, key=policy_key)
        policy = SquashedPolicy(function, box_of(env.task), jnp.ones(f), env.space)
        drift = jnp.zeros(len(space.speeds)) if space.speeds else None
        dynamics = LearnedDynamics(model, space, drift=drift)
        none = jnp.zeros((), jnp.int32)
        stretches = None if self.look_ahead is None else none
        return PILCOState(Buffer.empty(n, m), dynamics, policy, jnp.array(jnp.nan), none, stretches)

    def iterate(self, state: PILCOState, env: Env, *, key: PRNGKeyArray) -> tuple[PILCOState, Info]:
        """One trial, one fit, one improvement: lines 3-9 of algorithm 1, from the trial on."""
        act_key, fit_key, search_key = jr.split(key, 3)
        exploring = int(state.round) < self.random_episodes
        controller = Uniform(env.task.action_space, self.random_hold) if exploring else state.policy
        lengths = (self.settling, self.look_ahead, self.trial_steps)
        settling, looked, steps = (self._stretched(n, state, env.task.horizon) for n in lengths)
        counted = range(settling, looked)
        foreseen = None if exploring else self.imagined(state, env, key=jr.key(0))
        episode = collect(env, controller, steps=steps, key=act_key)  # lines 2 and 8
        buffer = state.buffer.append(episode)
        error = None if exploring else float(one_step_error(state.dynamics, episode, buffer))
        solved = not exploring and bool(env.task.solved(Trajectory.of_episode(episode)))  # None where there is no test
        with jax.enable_x64(True):
            dynamics, fit = fit_dynamics(self.model, _doubled(buffer), state.dynamics, key=fit_key)  # line 4
            Result(int(fit.result)).throw()
            last, new = _doubled(state.policy), 0 if solved else self.newcomers
            policy, found = self.improve(
                last, dynamics, buffer, env, state.round, counted=counted, newcomers=new, key=search_key
            )
            if solved and not self._worth_it(policy, dynamics, env, episode):
                policy, found = last, found._replace(at=last.function, cost=float(state.predicted), beginning=0)
        expected = None if foreseen is None else float(np.sum(foreseen.cost[: len(episode)]))  # of the trial, before it
        metrics = {
            "model_error": error,
            "predicted_cost": found.cost,
            "expected_cost": expected,
            "search_evaluations": float(found.evaluations),
            "competitor": float(found.beginning),  # 0 is the last policy
            **fit.metrics,
        }
        learned = (_single(dynamics), _single(policy), jnp.asarray(found.cost, jnp.float32), state.round + 1)
        after = PILCOState(buffer, *learned, state.stretches)
        if state.stretches is not None and looked < env.task.horizon and self._mastered(after, env, looked):
            after = eqx.tree_at(lambda s: s.stretches, after, state.stretches + 1)
        return after, Info([episode], metrics, self._notes(after, env, episode, foreseen))

    def controller(self, state: PILCOState, env: Env) -> Controller:
        """The policy."""
        del env
        return state.policy

    def problem(self, state: PILCOState, env: Env) -> Problem:
        """The task with the learned dynamics."""
        return Problem(state.dynamics, env.task)

    def improve(
        self,
        last: SquashedPolicy,
        dynamics: LearnedDynamics,
        buffer: Buffer,
        env: Env,
        round_: Int[Array, ""],
        *,
        counted: range,
        newcomers: int,
        key: PRNGKeyArray,
    ) -> tuple[SquashedPolicy, Found]:
        """The policy that the model expects to cost least over `counted` steps; lines 5-7 of algorithm 1.  In float64.

        Returns: it, and where the search found it: `evaluations` of all competitors, and which `beginning` won.
        Raises: NumericalFailure where no competitor has a finite cost.
        """
        start_key, *newcomer_keys = jr.split(key, 1 + newcomers)
        moved_keys = [jr.fold_in(start_key, i) for i in range(self.recentered)]
        features = np.asarray(jax.vmap(env.space.features)(buffer.rows().x), np.float64)
        first = int(round_) < self.random_episodes
        if first:  # nothing learned to be kept: units of what was seen
            last = eqx.tree_at(lambda p: p.scale, last, jnp.asarray(units(features, env.space)))
        m, scaled = env.task.action_space.size, features / np.asarray(last.scale)
        fresh = [self._newcomer(self._centers(scaled, k), m, key=k) for k in newcomer_keys]
        starts = start_distribution(env.task, buffer, self.starts, width=self.start_width, key=start_key)
        old = [] if first and fresh else [last.function]
        if self.policy == "rbf" and not first:
            way = {"dynamics": dynamics, "task": env.task, "start": jax.tree.map(lambda a: a[0], starts)}
            way |= {"steps": counted.stop, "sensor_noise": self.sensor_noise}
            old += [recentered(last, key=k, **way) for k in moved_keys]
        competitors = old + fresh
        ahead = jnp.asarray(self._ahead(int(round_), counted.stop))

        def objective(blur: float) -> Objective:
            arguments = (dynamics, last, env.task, starts, ahead, counted.stop, jnp.asarray(blur))
            settings = (self.exploration, self.sensor_noise, counted.start)
            return lambda function: expected_cost(function, *arguments, *settings)

        limits = type(last.function).limits
        scouting = self.scouting if len(competitors) > 1 else 0  # one has nobody to be compared with
        scouts = search(objective(self.blur), competitors, evaluations=scouting, limits=limits)
        best = [scout.at for scout in scouts[: self.survivors]]
        followed = search(objective(0.0), best, evaluations=self.evaluations, limits=limits)
        found, spent = followed[0], sum(one.evaluations for one in [*scouts, *followed])
        if not np.isfinite(found.cost):
            Result.not_finite.throw()
        beginning = scouts[found.beginning].beginning + (not old)  # 0: the last policy
        policy = eqx.tree_at(lambda p: p.function, last, found.at)
        return policy, found._replace(evaluations=spent, beginning=beginning)

    def _worth_it(self, policy: SquashedPolicy, dynamics: LearnedDynamics, env: Env, trial: Transition) -> bool:
        """Whether this policy is to replace one that has solved the trial.

        Searches gain by what the model is wrong about, too; and a model that calls a solved trial dear is to learn
        from it, not to mend what works.
        """
        start, steps = Gaussian.point(jnp.asarray(trial.x[0], jnp.float64)), env.task.horizon
        seen = imagine_compiled(dynamics, policy, env.task, start, steps=steps, sensor_noise=self.sensor_noise)
        cost = -float(np.sum(trial.reward))
        return float(jnp.sum(seen.cost[: len(trial)])) < cost - self.saving * abs(cost)

    def imagined(self, state: PILCOState, env: Env, *, key: PRNGKeyArray) -> Imagined:
        """What the model expects of the policy over an episode, for pictures; float64, NumPy arrays."""
        with jax.enable_x64(True):
            start = jax.tree.map(lambda a: a[0], start_distribution(env.task, state.buffer, 1, key=key))
            dynamics, rows = _doubled(state.dynamics), _doubled(state.buffer.rows())
            data = regression_data(dynamics.space, rows, dynamics.n_extra)
            exact = eqx.tree_at(lambda d: d.model, dynamics, self.model.renewed(dynamics.model, *data))
            seen = imagine_compiled(
                exact, _doubled(state.policy), env.task, start, steps=env.task.horizon, sensor_noise=self.sensor_noise
            )
            return jax.tree.map(np.asarray, seen)

    def _notes(self, after: PILCOState, env: Env, trial: Transition, foreseen: Imagined | None) -> tuple[str, ...]:
        """Where the problem is outside PILCO's comfort."""
        key = jr.key(0)  # for the initial states: the same in all rounds
        early = int(after.round) <= self.random_episodes + 2  # what the first models expect is worth no alarm
        return outside_comfort(
            dynamics=after.dynamics,
            model=self.model,
            task=env.task,
            start=jax.tree.map(lambda a: a[0], start_distribution(env.task, after.buffer, self.starts, key=key)),
            trial=trial,
            dearest=float(np.max(-np.asarray(after.buffer.rows().reward))),
            foreseen=None if early else foreseen,
            ahead=None if early else self.imagined(after, env, key=key),
        )

    def _newcomer(self, centers: Float[Any, "K f"], m: int, *, key: PRNGKeyArray) -> Affine | RBF:
        if self.policy == "linear":
            return random_affine(centers.shape[1], m, key=key)
        return random_rbf(jnp.asarray(centers), m, key=key)

    def _centers(self, features: Float[np.ndarray, "N f"], key: PRNGKeyArray) -> Float[np.ndarray, "K f"]:
        """Places where the system has been."""
        rows = jr.choice(jr.fold_in(key, 1), features.shape[0], (self.basis,), replace=features.shape[0] < self.basis)
        return features[np.asarray(rows)]

    def _stretched(self, steps: int | None, state: PILCOState, horizon: int) -> int:
        """`look_ahead`, `trial_steps` or `settling` of this round."""
        times = 0 if state.stretches is None else int(state.stretches)
        return horizon if steps is None else min(horizon, round(steps * self.stretch**times))

    def _mastered(self, state: PILCOState, env: Env, looked: int) -> bool:
        """Whether the last quarter of the steps looked at is expected to cost little of what the dearest does.

        A single step would not do: a system may swing past its goal just then.  Nor would little more than the cheapest
        step: far from its goal a saturating cost is flat.
        """
        cost = self.imagined(state, env, key=jr.key(0)).cost[: looked + 1]
        least, most = min(0.0, float(np.min(cost))), float(np.max(cost))
        return bool(np.mean(cost[-(looked // 4 + 1) :]) <= least + MASTERED * (most - least))

    def _ahead(self, round_: int, steps: int) -> int:
        """How many of these steps count in this round's search."""
        after = max(0, round_ + 1 - self.random_episodes)
        share = min(1.0, self.first_horizon + (1 - self.first_horizon) * after / max(1, self.growing))
        return round(share * steps)


def _doubled(tree: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if eqx.is_inexact_array(a) else a, tree)


def _single(tree: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32) if eqx.is_inexact_array(a) else a, tree)
