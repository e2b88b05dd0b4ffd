"""Environments whose states and actions must keep within constraints; see `forethought.core.constraints`."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from forethought.core import Box, Discrete, Problem, UsageError
from forethought.core.delay import resting_action
from forethought.envs.env import Env
from forethought.envs.functions import load_function
from forethought.envs.gym_env import GymEnv
from forethought.envs.system_env import SystemEnv
from forethought.tasks.constrained import Constrained
from forethought.tasks.function_task import ConstraintFunction, require_constraint, values_of
from forethought.tasks.simulated_task import SimulatedTask

RISK = 0.05  # largest probability with which a plan may violate constraints, if none is given
NO_CONSTRAINT = "risk and constraint_steps say how planners keep a constraint: give the constraint too."


def with_constraint(
    env: Env, function: ConstraintFunction, risk: float | None = None, constraint_steps: int | None = None
) -> Any:
    """`env` whose task has the constraints `function(x [n], u [m]) -> [k] <= 0`.

    They hold at each step, and in the last state with `resting_action`.

    Args:
        env: a `SystemEnv` or a `GymEnv`, without delay.
        function: traceable by JAX.
        risk: largest probability with which a plan may violate them, in [0, 1); `RISK` if None.
        constraint_steps: first steps of a plan that must keep them; all if None.

    Raises:
        UsageError: another environment, or a function that JAX cannot trace or that does not return numbers.
    """
    if isinstance(env, SystemEnv):
        return replace(env, problem=constrained_problem(env.problem, function, risk, constraint_steps))
    if isinstance(env, GymEnv):
        require_constraint(function, env.observations.example(), env.task.action_space.example())
        env.task = replace(env.task, **_fields(function, risk, constraint_steps))
        return env
    kind = type(env).__name__
    raise UsageError(f"constraints are for Gymnasium environments and systems; {env.name} is a {kind}.")


def constrained_problem(
    problem: Problem, constraint: Any = None, risk: float | None = None, constraint_steps: int | None = None
) -> Problem:
    """`problem` with the constraints `constraint(x [n], u [m]) -> [k] <= 0`; of a simulator, x is its state.

    Args:
        problem: a known model.
        constraint: a function, or its "module:function".
        risk: as in `with_constraint`.
        constraint_steps: as in `with_constraint`.

    Raises:
        UsageError: no constraint, or one that JAX cannot trace or that does not return numbers.
    """
    function = load_function(constraint, "constraint")
    if function is None:
        raise UsageError(NO_CONSTRAINT)
    task = problem.task
    x, u = jax.eval_shape(lambda: task.initial(key=jr.key(0))), task.action_space.example()
    if isinstance(task, SimulatedTask):
        require_constraint(function, task.size, u)
        base = replace(task.base, **_fields(function, risk, constraint_steps))
        return Problem(problem.dynamics, replace(task, base=base), problem.t0)
    require_constraint(function, x, u)
    final = FinalLimit.of(function, task.action_space)
    task = Constrained(task, Limit(function), final, RISK if risk is None else risk, constraint_steps)
    return Problem(problem.dynamics, task, problem.t0)


def _fields(function: ConstraintFunction, risk: float | None, constraint_steps: int | None) -> dict[str, Any]:
    """Of a `FunctionTask`."""
    return {
        "constraint_function": function,
        "risk": RISK if risk is None else risk,
        "constraint_steps": constraint_steps,
    }


@dataclass(frozen=True)
class Limit:
    """A constraint function of state and action, at every step."""

    function: ConstraintFunction

    def __call__(self, x: Float[Array, "n"], u: Shaped[Array, "*m"], t: Int[Array, ""]) -> Float[Array, "k"]:
        """Its values."""
        del t
        return values_of(self.function, x, u)


@dataclass(frozen=True)
class FinalLimit:
    """The same of the last state, with the action `rest`."""

    function: ConstraintFunction
    rest: tuple[float, ...] | int

    @staticmethod
    def of(function: ConstraintFunction, actions: Box | Discrete) -> "FinalLimit":
        """With the resting action."""
        rest = np.asarray(resting_action(actions))
        return FinalLimit(function, int(rest) if rest.ndim == 0 else tuple(rest.tolist()))

    def __call__(self, x: Float[Array, "n"]) -> Float[Array, "k"]:
        """Its values."""
        return values_of(self.function, x, jnp.asarray(self.rest))
