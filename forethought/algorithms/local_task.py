"""The tasks that local models can work with."""

import jax
import jax.numpy as jnp

from forethought.core import Box, UsageError
from forethought.envs.env import Env, learned_space
from forethought.policies.network import require_limits
from forethought.tasks.learned_task import LearnedTask


def require_task(env: Env, who: str) -> Box:
    """The action limits of the task of `env`.

    Raises:
        UsageError: actions without finite limits, observations that are no vector, or a cost without derivatives.
    """
    box = require_limits(env.task.action_space, who)
    learned_space(env, integrate=False)  # raises for images and integers
    if env.learn_reward:
        raise UsageError(
            f"{who} expands the cost of {env.name} to second order, and the environment only pays rewards: give the "
            "cost as a function (--cost module:function)."
        )
    x, u, t = jnp.zeros(env.space.size), jnp.zeros(box.size), jnp.zeros((), jnp.int32)
    cost = lambda x: env.task.cost(x, u, t) + env.task.final_cost(x)  # noqa: E731
    try:
        jax.eval_shape(jax.hessian(cost), x)
    except UsageError:
        raise
    except Exception as error:  # a cost function of the user's own may raise anything
        raise UsageError(
            f"{who} needs derivatives of the cost of {env.name}, which JAX cannot compute ({type(error).__name__}): "
            "write the cost with jax.numpy, without callbacks to Python."
        ) from error
    return box


def local_task(env: Env, final_weight: float) -> LearnedTask:
    """The task of rollouts that never end early, with a weight on the cost of the last state."""
    return LearnedTask(env.task, None, False, True, final_weight)
