"""MPC with the known model of a shipped system: nothing is learned; the teacher of `forethought distill`.

A round is one episode, so that evaluation, report, video and distillation work as for any other run.
`forethought plan` compares planners in single episodes and writes no run.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from forethought.algorithms.experience import require_planner
from forethought.algorithms.protocol import Info
from forethought.algorithms.safety import with_backup
from forethought.core import Controller, Planner, Problem, UsageError
from forethought.core.settings import settings
from forethought.envs.env import Env, collect
from forethought.planning.icem import ICEM
from forethought.planning.mpc import MPC


class KnownMPCState(eqx.Module):
    """What changes from round to round."""

    episodes: Int[Array, ""]


@settings
class KnownMPC:
    """Settings of MPC with a known model."""

    planner: Planner = ICEM()
    backup: str | None = None  # "module:function" that makes the controller for where no plan keeps the constraints

    @property
    def keeps_constraints(self) -> bool:
        """True: its plans keep the constraints of the task."""
        return True

    def init(self, env: Env, *, key: PRNGKeyArray) -> KnownMPCState:
        """Nothing to learn.

        Raises:
            UsageError: the model of the environment is not known, or the planner does not support its actions.
        """
        del key
        require_planner(self.planner, self._known(env))
        return KnownMPCState(jnp.zeros((), jnp.int32))

    def iterate(self, state: KnownMPCState, env: Env, *, key: PRNGKeyArray) -> tuple[KnownMPCState, Info]:
        """One episode."""
        return KnownMPCState(state.episodes + 1), Info([collect(env, self.controller(state, env), key=key)], {})

    def problem(self, state: KnownMPCState, env: Env) -> Problem:
        """The system itself."""
        del state
        return self._known(env)

    def controller(self, state: KnownMPCState, env: Env) -> Controller:
        """MPC; the backup where no plan keeps the constraints."""
        return with_backup(MPC(self.planner, self.problem(state, env)), self.backup, env)

    def _known(self, env: Env) -> Problem:
        problem = getattr(env, "problem", None)
        if not isinstance(problem, Problem):
            raise UsageError(
                f"the model of {env.name} is not known in its observations: use a system of `forethought list envs`, "
                "or learn a model with `forethought train pets`."
            )
        return problem
