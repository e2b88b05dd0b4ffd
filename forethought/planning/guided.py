"""MPC whose search begins, at each step, with what another controller would do.

Symbols: T the planning horizon; guide a policy; x' = f(x, u) the means of the dynamics:
    u_0 .. u_{T-1}   the actions of the guide along x_0 = x, x_{k+1} = f(x_k, u_k)
    search           begins with them, and with what the planner kept of its last plan
A short search depends on its warm start.  In states to which another controller has led, the last plan, which was not
followed, is a poor one; the guide's plan is as good as the guide, and the search improves it.  Plans of one state then
differ less, too: they are variants of one plan.
Source: Wang & Ba (2020), Exploring model-based planning with policy networks: a search around the actions of a policy
(POPLIN-A); a planner with such a guess as the expert of DAgger: Pinneri et al. (2021), Extracting strong policies for
robotics tasks from zero-order trajectory optimizers.
Differs: the guide's actions are those along the means of the dynamics; no cost for the distance from the policy, with
which Pinneri et al. keep plans near it.
"""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Controller, UsageError
from forethought.planning.mpc import MPC
from forethought.planning.rollout import foresee


@runtime_checkable
class TakesGuess(Protocol):
    """Capability of planners: a search can begin with given actions."""

    def with_guess(self, state: Any, us: Shaped[Array, "T *m"]) -> Any:
        """The warm start `state` with these actions, one for each step of the horizon, as its sequence."""
        ...


class GuidedMPC(eqx.Module):
    """MPC around a planner that takes guesses; its carry is the planner's state and the guide's memory."""

    mpc: MPC
    guide: Controller

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[Any, Any]:
        """No plan yet; the memory of the guide."""
        return self.mpc.init(x0, key=key), self.guide.init(self._seen(x0), key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: tuple[Any, Any], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], tuple[Any, Any]]:
        """The first action of a new plan."""
        u, _, carry = self.act_with_result(x, t, carry, key=key)
        return u, carry

    def act_with_result(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: tuple[Any, Any], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Int[Array, ""], tuple[Any, Any]]:
        """As `act`, with the plan's `Result`."""
        planned, memory = carry
        planner: Any = self.mpc.planner
        problem = self.mpc.problem.starting_at(t)

        def act(x: Array, t: Array, memory: Any) -> tuple[Array, Any]:
            return self.guide.act(self._seen(x), t, memory, key=key)

        us = foresee(problem, act, x, memory, planner.horizon or problem.task.horizon)
        u, result, planned = self.mpc.act_with_result(x, t, planner.with_guess(planned, us), key=key)
        return u, result, (planned, act(x, jnp.asarray(t), memory)[1])

    def _seen(self, x: Float[Array, "n"]) -> Float[Array, "k"]:
        """The observation: the state, without the reward where it is learned."""
        return x[: x.shape[0] - int(getattr(self.mpc.problem.dynamics, "n_extra", 0))]


def guided_by(guide: Controller, controller: Controller) -> Controller:
    """`controller` with every MPC in it guided whose planner takes guesses.

    Args:
        guide: a controller of observations.
        controller: MPC, or a controller that contains it.
    Raises:
        UsageError: there is none.
    """

    def takes_guess(node: Any) -> bool:
        return isinstance(node, MPC) and isinstance(node.planner, TakesGuess)

    def guided(node: Any) -> Any:
        return GuidedMPC(node, guide) if takes_guess(node) else node

    nodes = jax.tree.leaves(controller, is_leaf=lambda node: isinstance(node, MPC))
    if not any(map(takes_guess, nodes)):
        planners = [type(node.planner).__name__ for node in nodes if isinstance(node, MPC)]
        why = f"{planners[0]} takes no guess" if planners else f"a {type(controller).__name__} does not plan"
        raise UsageError(
            f"{why}, so it cannot be guided: leave `guided` out, or plan with icem, mppi, random-shooting, ilqr or "
            "gradient-shooting."
        )
    return jax.tree.map(guided, controller, is_leaf=takes_guess)
