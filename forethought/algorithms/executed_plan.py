"""A plan made through a learned model and executed as a whole, and how far the episode drifts from its prediction."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from forethought.algorithms.experience import for_observations
from forethought.core import Plan, Planner, Problem, Transition
from forethought.core.data import AnyArray
from forethought.dynamics.space import StateSpace
from forethought.envs.env import Env
from forethought.envs.episode import truncated
from forethought.planning.whole_plan import Following


class ExecutedPlan(NamedTuple):
    """A plan, and the episode in which it was executed."""

    plan: Plan
    episode: Transition

    def drift(self, space: StateSpace, seen: Float[AnyArray, "N n"]) -> Float[np.ndarray, "T"]:
        """Root mean square distance of the executed from the predicted states after 1 .. T steps.

        Each coordinate counts in units of its standard deviation in `seen`; those that never moved are left out.  T is
        the length of the episode.
        """
        xs = jnp.asarray(self.plan.xs[1 : len(self.episode) + 1, : space.size])
        gap = np.asarray(jax.vmap(space.difference)(jnp.asarray(self.episode.x_next), xs), np.float64)
        std = np.std(np.asarray(seen, np.float64), axis=0)
        moves = std > 1e-6 * np.maximum(1, np.abs(np.asarray(seen)).max(axis=0))
        if not moves.any():
            return np.zeros(len(gap))
        return np.sqrt(np.mean((gap[:, moves] / std[moves]) ** 2, axis=1))

    def metrics(self, space: StateSpace, seen: Float[AnyArray, "N n"]) -> dict[str, float | None]:
        """For the record of a run; None for what is not finite."""
        drift = self.drift(space, seen)
        numbers = {
            "predicted_cost": float(self.plan.cost),
            "executed_cost": -float(np.sum(self.episode.reward)),
            "drift": float(np.sqrt(np.mean(drift**2))),
            "drift_last": float(drift[-1]),
        }
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()}

    def notes(self) -> tuple[str, ...]:
        """A warning where no plan was found."""
        if np.isfinite(float(self.plan.cost)):
            return ()
        return ("No plan with a finite predicted cost was found: the model's predictions diverge within the episode.",)


def execute_plan(env: Env, problem: Problem, planner: Planner, *, feedback: bool, key: PRNGKeyArray) -> ExecutedPlan:
    """Plan from the initial state of a new episode of `env` through `problem`, and execute the plan to its end."""
    plan_key, episode_key = jr.split(key)
    episode = env.start(key=episode_key)
    x0 = jnp.pad(jnp.asarray(episode.x), (0, int(env.learn_reward)))
    plan = _plan(planner, problem, x0, plan_key)
    rows = episode.advance(for_observations(env, Following(plan, feedback)), steps=env.task.horizon)
    return ExecutedPlan(plan, rows if episode.over else truncated(rows))


@eqx.filter_jit
def _plan(planner: Planner, problem: Problem, x0: Float[Array, "n"], key: PRNGKeyArray) -> Plan:
    return planner.plan(problem, x0, planner.init(problem), key=key)[0]
