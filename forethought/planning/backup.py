"""A controller that takes over where no plan keeps the constraints, or no plan is finite."""

from typing import Any, Protocol

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from forethought.core import Controller, Result


class Replanning(Controller, Protocol):
    """A controller that plans at each step, as `MPC` does."""

    def act_with_result(
        self, x: Float[Array, "n"], t: Int[Array, ""] | int, carry: Any, *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], Int[Array, ""], Any]:
        """The action, the `Result` of the plan that it begins, and the next carry."""
        ...


class WithBackup(eqx.Module):
    """MPC, and `backup` at each step whose plan is not usable; both see every state.

    Usable: the plan's result is neither `infeasible` nor `not_finite` (`Result.usable`), and its first action is
    finite.  Without a backup, MPC executes the plan that violates the constraints least.
    """

    mpc: Replanning
    backup: Controller

    def init(self, x0: Float[Array, "n"], *, key: PRNGKeyArray) -> tuple[Any, Any]:
        """The memory of both."""
        return self.mpc.init(x0, key=key), self.backup.init(x0, key=key)

    def act(
        self, x: Float[Array, "n"], t: Int[Array, ""], carry: tuple[Any, Any], *, key: PRNGKeyArray
    ) -> tuple[Shaped[Array, "*m"], tuple[Any, Any]]:
        """The first action of a new plan, or the backup's."""
        u, result, planned = self.mpc.act_with_result(x, t, carry[0], key=key)
        instead, held = self.backup.act(x, t, carry[1], key=key)
        usable = jnp.isin(result, jnp.array([one for one in Result if one.usable]))
        return jnp.where(usable & jnp.all(jnp.isfinite(u)), u, instead.astype(u.dtype)), (planned, held)
